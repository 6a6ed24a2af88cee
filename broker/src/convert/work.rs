//! What workers say and hear.

use std::collections::BTreeMap;

use asyncflow_core::{
    id::TaskId,
    task::Task,
    validate::{at::At, text, work::RegistrationInput},
    violation::Violations,
};
use asyncflow_proto::{time::timestamp, v1};
use asyncflow_store::{Assigned, Registration, WorkerRow};

use super::{offer, task};

/// A lease with its id checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: TaskId,
    pub attempt: i32,
}

/// Checks a lease that stands at `at`.
pub fn lease(lease: Option<&v1::Lease>, at: At<'_>, violations: &mut Violations) -> Option<Lease> {
    let Some(lease) = lease else {
        violations.add(at, "must be given");
        return None;
    };
    let id = text::task_id(&lease.task_id, at.field("task_id"), violations);
    if lease.attempt < 1 {
        violations.add(at.field("attempt"), format!("{} is less than 1", lease.attempt));
    }
    Some(Lease { id: id?, attempt: lease.attempt })
}

/// Checks a list of leases in a field of the request.
pub fn leases(
    leases: &[v1::Lease],
    field: &str,
    count_max: usize,
    violations: &mut Violations,
) -> Vec<Lease> {
    let at = At::REQUEST.field(field);
    asyncflow_core::validate::number::item_count(leases.len(), 0..=count_max, at, violations);
    let each = leases.iter().enumerate().take(count_max);
    each.filter_map(|(index, one)| lease(Some(one), at.item(index), violations)).collect()
}

pub fn lease_to_proto(id: &TaskId, attempt: i32) -> v1::Lease {
    v1::Lease { task_id: id.to_string(), attempt }
}

/// A task with the lease under which it was handed out.
pub fn leased(one: Assigned, signals: BTreeMap<String, v1::Content>) -> v1::LeasedTask {
    let Assigned { full, placed } = one;
    let Task { id, attempt, .. } = &full.task;
    let lease = lease_to_proto(id, *attempt);
    let task = Some(v1::Task { signals, ..task::full(full) });
    v1::LeasedTask { lease: Some(lease), task, placement: placed.map(offer::placed_to_proto) }
}

/// What the domain checks of a registration; `*` is not a type's name.
pub fn registration_input(request: &v1::RegisterWorkerRequest) -> RegistrationInput {
    RegistrationInput {
        worker_id: request.worker_id.clone(),
        incarnation: request.incarnation.clone(),
        host: request.host.clone(),
        labels: request.labels.clone(),
        task_types: request.task_types.clone(),
        takes_commands: request.takes_commands,
        slots: request.slots,
        version: request.version.clone(),
    }
}

/// A checked registration.
pub fn registration(request: v1::RegisterWorkerRequest, user: String) -> Registration {
    Registration {
        worker_id: request.worker_id,
        incarnation: request.incarnation,
        host: request.host,
        version: request.version,
        user,
        slots: request.slots,
        task_types: request.task_types,
        takes_commands: request.takes_commands,
        labels: request.labels,
    }
}

/// A registered worker; it is alive when it was heard of since `alive_from_ms`.
pub fn worker(row: WorkerRow, alive_from_ms: i64) -> v1::Worker {
    let registration = row.registration;
    v1::Worker {
        worker_id: registration.worker_id,
        host: registration.host,
        labels: registration.labels,
        task_types: registration.task_types,
        takes_commands: registration.takes_commands,
        slots: registration.slots,
        running: row.running,
        version: registration.version,
        draining: row.draining,
        alive: row.seen_time_ms >= alive_from_ms,
        register_time: Some(timestamp(row.register_time_ms)),
        heartbeat_time: Some(timestamp(row.seen_time_ms)),
    }
}
