//! Whether a task fits on a host, where there, and how well.

use std::collections::BTreeMap;

use super::{Gpu, GpuUse, Host, Placed, Waiting};

/// So long a task that was given away waits for another host.
const AVOID_MS: i64 = 10 * 60_000;

/// Why a task does not go to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Its worker does not run this type.
    Type,
    /// It wants another host.
    Host { wanted: String },
    /// It was handed over by this host, and there are others.
    Avoided,
    /// The worker has not these labels.
    Labels { missing: BTreeMap<String, String> },
    /// As many tasks run there as may.
    Slots,
    /// In thousandths of cores.
    Cpus { wanted: i64, free: i64 },
    /// In bytes.
    Memory { wanted: i64, free: i64 },
    /// Whole GPUs.
    Gpus {
        wanted: i32,
        /// Those of the right model with enough memory, whatever is done with them.
        suitable: usize,
        /// Those of them that are free.
        free: usize,
        /// UUIDs of those that are free and kept for another task.
        kept: Vec<String>,
        /// UUIDs of those that are in use or may not be given away.
        busy: Vec<String>,
    },
    /// A share of one GPU.
    GpuMemory {
        wanted: i64,
        suitable: usize,
        /// The most that one of them has to give.
        most_free: i64,
        kept: Vec<String>,
        /// UUIDs of those that are given away as a whole or not at all.
        busy: Vec<String>,
    },
}

/// How well a host suits; smaller is better. Free GPUs that stay, memory that stays, load in
/// tenths, tasks that run.
pub(super) type Rank = (i64, i64, i64, i64);

/// Where on a host a task goes.
pub(super) struct Fit {
    pub rank: Rank,
    pub placed: Placed,
}

/// Whether a task is to avoid a host now: while it has not waited for long, and another one could
/// ever take it.
pub(super) fn avoids(hosts: &[Host], task: &Waiting, now_ms: i64) -> bool {
    let avoided = &task.needs.avoid_host;
    let is_other = |host: &&Host| host.name != *avoided && is_suitable(host, task);
    !avoided.is_empty()
        && now_ms.saturating_sub(task.ready_ms) < AVOID_MS
        && hosts.iter().any(|host| is_other(&host))
}

/// Whether a host could take the task if nothing else ran there, as far as can be told.
fn is_suitable(host: &Host, task: &Waiting) -> bool {
    let needs = &task.needs;
    let usable = |gpu: &&Gpu| is_suited(gpu, task) && gpu.usage != GpuUse::Unavailable;
    let gpus = host.gpus.iter().filter(usable).count();
    let wanted = if needs.gpu_memory_bytes > 0 { 1 } else { needs.gpus.max(0) as usize };
    is_eligible(host, task, false) && gpus >= wanted
}

/// Type, name and labels.
fn is_meant(host: &Host, task: &Waiting) -> bool {
    let needs = &task.needs;
    host.types.as_ref().is_none_or(|types| types.contains(task.id.task_type()))
        && (needs.host.is_empty() || needs.host == host.name)
        && needs.worker_labels.iter().all(|(key, value)| host.labels.get(key) == Some(value))
}

/// Model and memory in all.
pub(super) fn is_suited(gpu: &Gpu, task: &Waiting) -> bool {
    task.needs.suits_gpu(&gpu.model, gpu.memory_bytes)
}

/// Whether it may go there at all, and there would be cores and memory if nothing else ran.
pub(super) fn is_eligible(host: &Host, task: &Waiting, avoids: bool) -> bool {
    is_meant(host, task)
        && !(avoids && host.name == task.needs.avoid_host)
        && (host.cpu_millis_total == 0 || host.cpu_millis_total >= task.needs.cpu_millis)
        && (host.memory_bytes_total == 0 || host.memory_bytes_total >= task.needs.memory_bytes)
}

/// Whether the host has said what it has in all: then whoever is eligible will do in time.
pub(super) fn is_known_to_do(host: &Host, task: &Waiting) -> bool {
    (host.cpu_millis_total > 0 || host.cpu_millis >= task.needs.cpu_millis)
        && (host.memory_bytes_total > 0 || host.memory_bytes >= task.needs.memory_bytes)
}

/// Whether it fits there, slots and GPUs aside.
pub(super) fn has_room(host: &Host, task: &Waiting, avoids: bool) -> bool {
    host.cpu_millis >= task.needs.cpu_millis
        && host.memory_bytes >= task.needs.memory_bytes
        && is_eligible(host, task, avoids)
}

/// Where it goes on this host, but for the GPUs that are `kept`.
pub(super) fn fit(host: &Host, task: &Waiting, kept: &[&str], avoids: bool) -> Option<Fit> {
    let needs = &task.needs;
    if host.slots == 0 || !has_room(host, task, avoids) {
        return None;
    }
    let mut gpus: Vec<&Gpu> = (host.gpus.iter())
        .filter(|gpu| is_suited(gpu, task) && !kept.contains(&gpu.uuid.as_str()))
        .collect();
    let free = host.gpus.iter().filter(|gpu| gpu.usage == GpuUse::Free).count() as i64;
    let load = (host.load.clamp(0.0, 1_000.0) * 10.0) as i64;
    let running = i64::from(host.running);
    if needs.gpu_memory_bytes > 0 {
        let wanted = needs.gpu_memory_bytes;
        gpus.retain(|gpu| gpu.usage == GpuUse::Shared || gpu.usage == GpuUse::Free);
        gpus.retain(|gpu| gpu.free_bytes >= wanted);
        let rest = |gpu: &Gpu| (gpu.usage == GpuUse::Free, gpu.free_bytes - wanted);
        let gpu = gpus.into_iter().min_by(|a, b| (rest(a), &a.uuid).cmp(&(rest(b), &b.uuid)))?;
        let (opens, rest) = rest(gpu);
        // One that is shared already is better than any free one.
        let rank = (if opens { free } else { -1 }, rest, load, running);
        let placed = Placed { gpus: vec![gpu.uuid.clone()], gpu_memory_bytes: wanted };
        return Some(Fit { rank, placed });
    }
    let wanted = needs.gpus.max(0) as usize;
    gpus.retain(|gpu| gpu.usage == GpuUse::Free);
    if gpus.len() < wanted {
        return None;
    }
    gpus.sort_by(|a, b| (a.memory_bytes, &a.uuid).cmp(&(b.memory_bytes, &b.uuid)));
    gpus.truncate(wanted);
    // Who needs no GPU goes where there are none, if he can.
    let first = if wanted == 0 { i64::from(!host.gpus.is_empty()) } else { free };
    let rank = (first, gpus.iter().map(|gpu| gpu.memory_bytes).sum(), load, running);
    let gpus = gpus.into_iter().map(|gpu| gpu.uuid.clone()).collect();
    Some(Fit { rank, placed: Placed { gpus, gpu_memory_bytes: 0 } })
}

/// The task runs there from now on.
pub(super) fn take(host: &mut Host, task: &Waiting, placed: &Placed, now_ms: i64) {
    host.slots = host.slots.saturating_sub(1);
    host.running = host.running.saturating_add(1);
    host.cpu_millis -= task.needs.cpu_millis;
    host.memory_bytes -= task.needs.memory_bytes;
    let end_ms = (task.max_running_ms > 0).then(|| now_ms.saturating_add(task.max_running_ms));
    for gpu in host.gpus.iter_mut().filter(|gpu| placed.gpus.contains(&gpu.uuid)) {
        if placed.gpu_memory_bytes == 0 {
            (gpu.usage, gpu.free_bytes, gpu.free_time_ms) = (GpuUse::Exclusive, 0, end_ms);
        } else {
            // It is free when the last of them has ended.
            let others_ms = gpu.free_time_ms.filter(|_| gpu.usage == GpuUse::Shared);
            let is_first = gpu.usage == GpuUse::Free;
            gpu.free_time_ms = match others_ms {
                Some(others_ms) => end_ms.map(|end_ms| end_ms.max(others_ms)),
                None => end_ms.filter(|_| is_first),
            };
            gpu.usage = GpuUse::Shared;
            gpu.free_bytes -= placed.gpu_memory_bytes;
        }
    }
}

/// Everything that keeps a task from a host; nothing if it fits.
pub(super) fn misfits(host: &Host, task: &Waiting, kept: &[&str], avoids: bool) -> Vec<Misfit> {
    let needs = &task.needs;
    let mut misfits = Vec::new();
    let accepts = |name| host.types.as_ref().is_none_or(|types| types.contains(name));
    if !accepts(task.id.task_type()) {
        misfits.push(Misfit::Type);
    }
    if !needs.host.is_empty() && needs.host != host.name {
        misfits.push(Misfit::Host { wanted: needs.host.clone() });
    }
    if avoids && host.name == needs.avoid_host {
        misfits.push(Misfit::Avoided);
    }
    let lacks = |(key, value): &(&String, &String)| host.labels.get(*key) != Some(value);
    let missing: BTreeMap<_, _> = (needs.worker_labels.iter().filter(lacks))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if !missing.is_empty() {
        misfits.push(Misfit::Labels { missing });
    }
    if host.slots == 0 {
        misfits.push(Misfit::Slots);
    }
    if host.cpu_millis < needs.cpu_millis {
        misfits.push(Misfit::Cpus { wanted: needs.cpu_millis, free: host.cpu_millis.max(0) });
    }
    if host.memory_bytes < needs.memory_bytes {
        let (wanted, free) = (needs.memory_bytes, host.memory_bytes.max(0));
        misfits.push(Misfit::Memory { wanted, free });
    }
    misfits.extend(gpu_misfit(host, task, kept));
    misfits
}

fn gpu_misfit(host: &Host, task: &Waiting, kept: &[&str]) -> Option<Misfit> {
    let needs = &task.needs;
    let gpus: Vec<&Gpu> = host.gpus.iter().filter(|gpu| is_suited(gpu, task)).collect();
    let suitable = gpus.len();
    let is_kept = |gpu: &Gpu| kept.contains(&gpu.uuid.as_str());
    let uuids = |those: &dyn Fn(&Gpu) -> bool| -> Vec<String> {
        gpus.iter().filter(|gpu| those(gpu)).map(|gpu| gpu.uuid.clone()).collect()
    };
    if needs.gpu_memory_bytes > 0 {
        let wanted = needs.gpu_memory_bytes;
        let shares = |gpu: &Gpu| matches!(gpu.usage, GpuUse::Shared | GpuUse::Free);
        let open = gpus.iter().filter(|gpu| shares(gpu) && !is_kept(gpu));
        let most_free = open.map(|gpu| gpu.free_bytes).max().unwrap_or(0);
        let kept = uuids(&|gpu| shares(gpu) && is_kept(gpu));
        let busy = uuids(&|gpu| !shares(gpu));
        let misfit = Misfit::GpuMemory { wanted, suitable, most_free, kept, busy };
        return (most_free < wanted).then_some(misfit);
    }
    let kept = uuids(&|gpu| gpu.usage == GpuUse::Free && is_kept(gpu));
    let free = uuids(&|gpu| gpu.usage == GpuUse::Free && !is_kept(gpu)).len();
    let busy = uuids(&|gpu| gpu.usage != GpuUse::Free);
    let misfit = Misfit::Gpus { wanted: needs.gpus, suitable, free, kept, busy };
    (free < needs.gpus.max(0) as usize).then_some(misfit)
}
