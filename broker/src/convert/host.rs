//! What workers tell of their hosts: checked, cut to size, and kept as it came.

use std::collections::HashSet;

use asyncflow_core::{
    limits::{
        GPU_PROCESSES_MAX, GPU_UUID_BYTES_MAX, GPUS_MAX, HOST_ALARMS_MAX, HOST_RUNNING_MAX,
        MESSAGE_BYTES_MAX, USER_BYTES_MAX,
    },
    task::Task,
    validate::{
        at::At,
        number::item_count,
        text::{self, cut},
    },
    violation::Violations,
};
use asyncflow_proto::{time::timestamp, v1};
use asyncflow_store::{HostOrder, HostRow};
use prost::Message;

use super::{host_order, work};

const COMMAND_BYTES_MAX: usize = 255;
const MODEL_BYTES_MAX: usize = 128;
const PROVIDER_BYTES_MAX: usize = 32;

/// Checks what is told of a host. What is for people is cut, what is for programs refused.
pub fn report(
    report: Option<v1::HostReport>,
    violations: &mut Violations,
) -> Option<v1::HostReport> {
    let root = At::REQUEST;
    let at = root.field("report");
    let Some(mut report) = report else {
        violations.add(at, "must be given");
        return None;
    };
    for (name, value) in
        [("cpus", report.cpus), ("cpus_free", report.cpus_free), ("load", report.load)]
    {
        finite(value, at.field(name), violations);
    }
    item_count(report.gpus.len(), 0..=GPUS_MAX, at.field("gpus"), violations);
    item_count(report.running.len(), 0..=HOST_RUNNING_MAX, at.field("running"), violations);
    violations.is_empty().then_some(())?;
    gpus(&mut report.gpus, at.field("gpus"), violations);
    for (index, task) in report.running.iter_mut().enumerate() {
        running(task, at.field("running").item(index), violations);
    }
    report.alarms.truncate(HOST_ALARMS_MAX);
    report.alarms.iter_mut().for_each(|alarm| *alarm = cut(alarm, MESSAGE_BYTES_MAX));
    report.takes_nothing = cut(&report.takes_nothing, MESSAGE_BYTES_MAX);
    report.gpu_provider = cut(&report.gpu_provider, PROVIDER_BYTES_MAX);
    Some(report)
}

fn gpus(gpus: &mut [v1::Gpu], list: At<'_>, violations: &mut Violations) {
    let mut seen = HashSet::new();
    for (index, gpu) in gpus.iter_mut().enumerate() {
        let at = list.item(index);
        text::required_line(&gpu.uuid, GPU_UUID_BYTES_MAX, at.field("uuid"), violations);
        if !seen.insert(gpu.uuid.clone()) {
            violations.add(at.field("uuid"), "is told twice");
        }
        finite(gpu.power_watts, at.field("power_watts"), violations);
        gpu.model = cut(&gpu.model, MODEL_BYTES_MAX);
        gpu.reason = cut(&gpu.reason, MESSAGE_BYTES_MAX);
        gpu.task_ids.truncate(HOST_RUNNING_MAX);
        for (number, id) in gpu.task_ids.iter().enumerate() {
            text::task_id(id, at.field("task_ids").item(number), violations);
        }
        gpu.processes.truncate(GPU_PROCESSES_MAX);
        for process in &mut gpu.processes {
            process.user = cut(&process.user, USER_BYTES_MAX);
            process.command = cut(&process.command, COMMAND_BYTES_MAX);
        }
    }
}

fn running(task: &mut v1::RunningTask, at: At<'_>, violations: &mut Violations) {
    text::task_id(&task.task_id, at.field("task_id"), violations);
    finite(task.cpus, at.field("cpus"), violations);
    for (field, list) in [("gpus", &task.gpus), ("trespassed_gpus", &task.trespassed_gpus)] {
        let at = at.field(field);
        item_count(list.len(), 0..=GPUS_MAX, at, violations);
        for (index, uuid) in list.iter().enumerate().take(GPUS_MAX) {
            text::required_line(uuid, GPU_UUID_BYTES_MAX, at.item(index), violations);
        }
    }
    // Filled in when it is asked for.
    task.user.clear();
    task.name.clear();
}

/// A figure that is none would be told as one.
fn finite(value: f64, at: At<'_>, violations: &mut Violations) {
    if !value.is_finite() || value < 0.0 {
        violations.add(at, format!("{value} is not a number from 0 up"));
    }
}

/// A report as it is kept.
pub fn encode(report: &v1::HostReport) -> Vec<u8> {
    report.encode_to_vec()
}

/// A report that was kept; one that cannot be read is none.
pub fn decode(row: &HostRow) -> Option<v1::HostReport> {
    v1::HostReport::decode(row.report.as_deref()?).ok()
}

/// A host; its worker is alive when it was heard of since `alive_from_ms`.
pub fn to_proto(row: HostRow, orders: &[HostOrder], alive_from_ms: i64) -> v1::Host {
    v1::Host {
        report: decode(&row),
        report_time: row.report_time_ms.map(timestamp),
        orders: Some(host_order::without_contexts(host_order::to_proto(orders))),
        worker: Some(work::worker(row.worker, alive_from_ms)),
    }
}

/// A host whose worker has left: what is wanted of it is all that is known. Its orders are as old
/// as that, or younger.
pub fn absent(worker_id: &str, orders: &[HostOrder]) -> v1::Host {
    let left_ms = orders.iter().map(|order| order.create_time_ms).min();
    v1::Host {
        worker: Some(v1::Worker {
            worker_id: worker_id.to_owned(),
            heartbeat_time: left_ms.map(timestamp),
            ..v1::Worker::default()
        }),
        orders: Some(host_order::without_contexts(host_order::to_proto(orders))),
        ..v1::Host::default()
    }
}

/// Says whose a task is that runs on a host.
pub fn name_running(running: &mut v1::RunningTask, task: &Task) {
    running.user.clone_from(&task.user);
    running.name.clone_from(&task.name);
}
