//! What a worker has to give, and what of it a task gets.

use std::collections::BTreeSet;

use asyncflow_core::{
    limits::{
        GPU_NAME_BYTES_MAX, GPU_UUID_BYTES_MAX, GPUS_MAX, TASK_CPUS_MAX, TASK_MEMORY_BYTES_MAX,
    },
    placement::{Gpu, GpuUse, Host, Placed},
    validate::{at::At, number, text},
    violation::{Violations, shown},
};
use asyncflow_proto::v1;

use super::time;
use crate::session::Session;

/// The host of a worker, with what it offers.
pub fn host(session: &Session, offer: Option<v1::HostOffer>, violations: &mut Violations) -> Host {
    let host = Host::without_offer(&session.worker_id, &session.host, &session.labels);
    let Some(offer) = offer else { return host };
    let at = At::REQUEST.field("offer");
    let numbers = [("cpus", offer.cpus), ("load", offer.load), ("cpus_total", offer.cpus_total)];
    for (field, value) in numbers {
        // NaN lies in no range.
        if !(0.0..=TASK_CPUS_MAX).contains(&value) {
            let what = format!("{value} is out of range; 0 to {TASK_CPUS_MAX}");
            violations.add(at.field(field), what);
        }
    }
    let bytes =
        [("memory_bytes", offer.memory_bytes), ("memory_bytes_total", offer.memory_bytes_total)];
    for (field, value) in bytes {
        number::in_range(value, 0..=TASK_MEMORY_BYTES_MAX, at.field(field), violations);
    }
    let list = at.field("gpus");
    number::item_count(offer.gpus.len(), 0..=GPUS_MAX, list, violations);
    let mut known = BTreeSet::new();
    let mut gpus = Vec::new();
    for (index, gpu) in offer.gpus.into_iter().take(GPUS_MAX).enumerate() {
        let at = list.item(index);
        if !known.insert(gpu.uuid.clone()) {
            violations.add(at.field("uuid"), format!("{} is there twice", shown(&gpu.uuid)));
        }
        gpus.push(self::gpu(gpu, at, violations));
    }
    Host {
        cpu_millis: (offer.cpus * 1_000.0) as i64,
        memory_bytes: offer.memory_bytes,
        cpu_millis_total: total((offer.cpus_total * 1_000.0) as i64, (offer.cpus * 1_000.0) as i64),
        memory_bytes_total: total(offer.memory_bytes_total, offer.memory_bytes),
        load: offer.load,
        gpus,
        ..host
    }
}

/// What there is in all cannot be less than what is free; 0 = not known.
fn total(total: i64, free: i64) -> i64 {
    if total > 0 { total.max(free) } else { 0 }
}

fn gpu(gpu: v1::GpuOffer, at: At<'_>, violations: &mut Violations) -> Gpu {
    text::required_line(&gpu.uuid, GPU_UUID_BYTES_MAX, at.field("uuid"), violations);
    text::line(&gpu.model, GPU_NAME_BYTES_MAX, at.field("model"), violations);
    let bytes = [("memory_bytes", gpu.memory_bytes), ("memory_free_bytes", gpu.memory_free_bytes)];
    for (field, value) in bytes {
        number::in_range(value, 0..=TASK_MEMORY_BYTES_MAX, at.field(field), violations);
    }
    let free_time = gpu.free_time.as_ref();
    Gpu {
        free_time_ms: time::timestamp_ms(free_time, at.field("free_time"), violations),
        usage: usage(gpu.r#use()),
        uuid: gpu.uuid,
        model: gpu.model,
        memory_bytes: gpu.memory_bytes,
        free_bytes: gpu.memory_free_bytes,
    }
}

/// What this version does not know is not given away.
fn usage(usage: v1::GpuUse) -> GpuUse {
    match usage {
        v1::GpuUse::Free => GpuUse::Free,
        v1::GpuUse::Shared => GpuUse::Shared,
        v1::GpuUse::Exclusive => GpuUse::Exclusive,
        v1::GpuUse::Unspecified | v1::GpuUse::Unavailable => GpuUse::Unavailable,
    }
}

pub fn placed_to_proto(placed: Placed) -> v1::Placement {
    v1::Placement { gpus: placed.gpus, gpu_memory_bytes: placed.gpu_memory_bytes }
}
