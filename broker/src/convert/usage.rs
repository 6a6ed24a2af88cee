//! What attempts and users have used.

use asyncflow_core::usage::UserUsage;
use asyncflow_proto::v1;

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
