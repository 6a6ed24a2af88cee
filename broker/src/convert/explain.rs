//! Hosts as an explanation sees them, and explanations as they are told.

use std::collections::{BTreeSet, HashMap};

use asyncflow_core::{
    explain::{Explained, Gpu, GpuState, Host, Process, Reason, Report, Running},
    host::OrderName,
    id::TypeName,
    resources::Resources,
    task::Task,
};
use asyncflow_proto::{
    time::{timestamp, timestamp_ms},
    v1,
};
use asyncflow_store::{HostOrder, HostRow};

use super::host;
use crate::session::EVERY_TYPE;

/// The host of a worker, as a task sees it that `is_command` or not; the worker is alive when it
/// was heard of since `alive_from_ms`.
pub fn host(row: HostRow, orders: &[HostOrder], is_command: bool, alive_from_ms: i64) -> Host {
    let report = host::decode(&row);
    let worker = row.worker;
    let name = worker.host().to_owned();
    let registration = worker.registration;
    let names = &registration.task_types;
    let takes_it = is_command && registration.takes_commands;
    let types = (!takes_it && !names.iter().any(|name| name == EVERY_TYPE))
        .then(|| names.iter().filter_map(|name| TypeName::new(name).ok()).collect::<BTreeSet<_>>());
    let running = report.as_ref().map_or(0, |report| report.running.len());
    Host {
        name,
        types,
        labels: registration.labels,
        slots: u32::try_from(registration.slots).unwrap_or(0),
        running: u32::try_from(worker.running).unwrap_or(0).max(running as u32),
        is_alive: worker.seen_time_ms >= alive_from_ms,
        heard_ms: Some(worker.seen_time_ms),
        is_unknown: false,
        is_cordoned: is_ordered(orders, &OrderName::Cordon),
        is_draining: worker.draining || is_ordered(orders, &OrderName::Drain),
        report: report.map(self::report),
        worker_id: registration.worker_id,
    }
}

/// A host whose worker has left. Its orders are as old as that, or younger.
pub fn absent(worker_id: &str, orders: &[HostOrder]) -> Host {
    Host {
        worker_id: worker_id.to_owned(),
        name: worker_id.to_owned(),
        heard_ms: orders.iter().map(|order| order.create_time_ms).min(),
        is_unknown: true,
        is_cordoned: is_ordered(orders, &OrderName::Cordon),
        is_draining: is_ordered(orders, &OrderName::Drain),
        ..Host::default()
    }
}

fn is_ordered(orders: &[HostOrder], wanted: &OrderName) -> bool {
    orders.iter().any(|order| order.name == *wanted)
}

fn report(report: v1::HostReport) -> Report {
    Report {
        cpu_millis: cpu_millis(report.cpus),
        cpu_free_millis: cpu_millis(report.cpus_free),
        memory_bytes: report.memory_bytes,
        memory_free_bytes: report.memory_free_bytes,
        gpus: report.gpus.into_iter().map(gpu).collect(),
        running: report.running.into_iter().map(running).collect(),
        takes_nothing: report.takes_nothing,
    }
}

fn cpu_millis(cpus: f64) -> i64 {
    // Checked when it came; too large for the type is the largest.
    (cpus * 1_000.0).round() as i64
}

fn gpu(gpu: v1::Gpu) -> Gpu {
    Gpu {
        state: match gpu.state() {
            v1::GpuState::Unspecified | v1::GpuState::Ready => GpuState::Ready,
            v1::GpuState::Cordoned => GpuState::Cordoned,
            v1::GpuState::Foreign => GpuState::Foreign,
            v1::GpuState::CoolingDown => GpuState::CoolingDown,
            v1::GpuState::Quarantined => GpuState::Quarantined,
            v1::GpuState::Broken => GpuState::Broken,
        },
        uuid: gpu.uuid,
        index: gpu.index,
        model: gpu.model,
        memory_bytes: gpu.memory_bytes,
        memory_used_bytes: gpu.memory_used_bytes,
        reason: gpu.reason,
        until_ms: gpu.until.as_ref().and_then(timestamp_ms),
        processes: gpu.processes.into_iter().map(process).collect(),
    }
}

fn process(process: v1::GpuProcess) -> Process {
    Process {
        pid: process.pid,
        user: process.user,
        command: process.command,
        memory_bytes: process.memory_bytes,
        utilization_percent: process.utilization_percent,
        since_ms: process.since.as_ref().and_then(timestamp_ms),
        blocks: process.blocks,
        treatment: process.treatment,
    }
}

fn running(running: v1::RunningTask) -> Running {
    Running {
        task_id: running.task_id,
        user: running.user,
        gpus: running.gpus,
        gpu_share_bytes: 0,
        cpu_millis: 0,
        memory_bytes: 0,
        end_time_max_ms: running.end_time_max.as_ref().and_then(timestamp_ms),
        trespassed_gpus: running.trespassed_gpus,
    }
}

/// Says of the tasks on a host whose they are and what they asked for.
pub fn fill_in(host: &mut Host, tasks: &HashMap<String, Task>) {
    let Some(report) = &mut host.report else { return };
    for running in &mut report.running {
        let Some(task) = tasks.get(&running.task_id) else { continue };
        let needs = task.resources.as_deref();
        running.user.clone_from(&task.user);
        running.gpu_share_bytes = needs.map_or(0, |needs: &Resources| needs.gpu_memory_bytes);
        running.cpu_millis = needs.map_or(0, |needs| needs.cpu_millis);
        running.memory_bytes = needs.map_or(0, |needs| needs.memory_bytes);
    }
}

pub fn to_proto(explained: Explained) -> v1::ExplainTaskResponse {
    v1::ExplainTaskResponse {
        summary: explained.summary,
        explanations: explained.reasons.into_iter().map(reason).collect(),
        earliest_start_time: explained.earliest_start_ms.map(timestamp),
        ..v1::ExplainTaskResponse::default()
    }
}

fn reason(reason: Reason) -> v1::Explanation {
    v1::Explanation {
        kind: reason.kind.code(),
        message: reason.message,
        host: reason.host,
        worker_id: reason.worker_id,
        gpu: reason.gpu,
        process: reason.process.map(|process| v1::GpuProcess {
            pid: process.pid,
            user: process.user,
            command: process.command,
            memory_bytes: process.memory_bytes,
            utilization_percent: process.utilization_percent,
            since: process.since_ms.map(timestamp),
            treatment: process.treatment,
            blocks: process.blocks,
        }),
        task_id: reason.task_id,
        user: reason.user,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asyncflow_core::explain::Kind;

    #[test]
    fn the_numbers_of_kinds_are_those_of_the_protocol() {
        for kind in Kind::ALL {
            let proto = v1::ExplanationKind::try_from(kind.code());
            let name = proto.map(|kind| kind.as_str_name().replace('_', "").to_lowercase());
            assert_eq!(name, Ok(format!("explanationkind{kind:?}").to_lowercase()));
        }
        assert!(v1::ExplanationKind::try_from(Kind::ALL.len() as i32 + 1).is_err());
    }
}
