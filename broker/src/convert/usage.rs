//! What attempts and users have used.

use asyncflow_core::{
    limits::{GPU_UUID_BYTES_MAX, GPUS_MAX, HOST_BYTES_MAX},
    usage::{AttemptUsage, UserUsage},
    validate::text::cut,
};
use asyncflow_proto::v1;

const COMMIT_BYTES_MAX: usize = 64;

/// What a worker says that an attempt used. An outcome is never refused for it: what cannot be is
/// left out.
pub fn of_attempt(used: Option<v1::AttemptUsage>) -> Option<Box<AttemptUsage>> {
    let used = used?;
    let mut gpus = used.gpus;
    gpus.truncate(GPUS_MAX);
    gpus.iter_mut().for_each(|uuid| *uuid = cut(uuid, GPU_UUID_BYTES_MAX));
    Some(Box::new(AttemptUsage {
        host: cut(&used.host, HOST_BYTES_MAX),
        gpus,
        gpu_seconds: measured(used.gpu_seconds),
        gpu_utilization_percent: measured(used.gpu_utilization_percent).min(100.0),
        gpu_memory_peak_bytes: used.gpu_memory_peak_bytes.max(0),
        cpu_seconds: measured(used.cpu_seconds),
        memory_peak_bytes: used.memory_peak_bytes.max(0),
        code_commit: cut(&used.code_commit, COMMIT_BYTES_MAX),
        code_changed: used.code_changed,
        log_dropped_bytes: used.log_dropped_bytes.max(0),
    }))
}

fn measured(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

pub fn to_proto(used: AttemptUsage) -> v1::AttemptUsage {
    v1::AttemptUsage {
        host: used.host,
        gpus: used.gpus,
        gpu_seconds: used.gpu_seconds,
        gpu_utilization_percent: used.gpu_utilization_percent,
        gpu_memory_peak_bytes: used.gpu_memory_peak_bytes,
        cpu_seconds: used.cpu_seconds,
        memory_peak_bytes: used.memory_peak_bytes,
        code_commit: used.code_commit,
        code_changed: used.code_changed,
        log_dropped_bytes: used.log_dropped_bytes,
    }
}

/// What a user has used; what is in use now is told by hosts.
pub fn of_user(name: &str, used: UserUsage) -> v1::UserUsage {
    v1::UserUsage {
        user: name.to_owned(),
        gpu_seconds: used.gpu_ms as f64 / 1_000.0,
        cpu_seconds: used.cpu_ms as f64 / 1_000.0,
        attempts: used.attempts,
        ..v1::UserUsage::default()
    }
}

/// Who uses how many GPUs of a host now. Tasks that share a GPU count by what they hold of its
/// memory, as far as that is known, else by equal parts.
pub fn gpus_now(report: &v1::HostReport) -> Vec<(String, f64)> {
    let of = |task: &v1::RunningTask| {
        let gpus = report.gpus.iter().filter(|gpu| task.gpus.contains(&gpu.uuid));
        let used: f64 = gpus.map(|gpu| share(gpu, task)).sum();
        (task.user.clone(), used)
    };
    report.running.iter().map(of).filter(|(_, used)| *used > 0.0).collect()
}

fn share(gpu: &v1::Gpu, task: &v1::RunningTask) -> f64 {
    match gpu.task_ids.len() {
        0 | 1 => 1.0,
        _ if task.gpu_memory_bytes > 0 && gpu.memory_bytes > 0 => {
            (task.gpu_memory_bytes as f64 / gpu.memory_bytes as f64).min(1.0)
        }
        sharers => 1.0 / sharers as f64,
    }
}
