//! Taking tasks: one long poll at a time, never for more than the free slots.

use std::{sync::Arc, time::Duration};

use asyncflow_proto::time::duration;
use uuid::Uuid;

use super::{
    host,
    link::{Pause, is_worth_repeating},
    runtime::Runtime,
    stop::StopReason,
};
use crate::{
    Error, clock,
    v1::{
        AcquireTasksRequest, Lease, LeaseStatus, LeaseVerdict, LeasedTask, StartTasksRequest,
        TaskState,
    },
};

/// What one AcquireTasks may ask for.
const TASKS_MAX: usize = 1_000;
const CALL_SLACK: Duration = Duration::from_secs(10);
/// An empty answer that comes sooner than this was no long poll.
const EMPTY_ANSWER_MIN: Duration = Duration::from_millis(200);
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Acquires and starts tasks until it is dropped. Dropping it loses nothing: what was handed out
/// and not started goes back to the queue.
pub(super) async fn run(runtime: &Arc<Runtime>) {
    let mut refused = Pause::default();
    loop {
        runtime.until_it_takes(true).await;
        runtime.journal_works().await;
        runtime.executors_ready().await;
        let free = runtime.held.free_slots(runtime.options.slots).await;
        let asked_at = clock::now();
        let acquired = tokio::select! {
            acquired = acquire(runtime, free.min(TASKS_MAX)) => acquired,
            () = runtime.until_it_takes(false) => continue,
        };
        match acquired {
            Ok(tasks) if tasks.is_empty() && asked_at.elapsed() < EMPTY_ANSWER_MIN => {
                // A broker that shuts down answers empty at once; it must not be asked in a circle.
                tokio::time::sleep(clock::jittered(EMPTY_ANSWER_MIN)).await;
            }
            Ok(tasks) => {
                refused = Pause::default();
                take(runtime, tasks);
            }
            Err(error) => {
                tracing::error!(%error, "acquire was refused");
                refused.after(&error).await;
            }
        }
    }
}

/// One acquire, repeated under the same id until it is answered: a lost answer loses no task. So
/// it may also be repeated because there is something else to offer.
async fn acquire(runtime: &Runtime, tasks_max: usize) -> Result<Vec<LeasedTask>, Error> {
    let options = &runtime.options;
    let wait = options.acquire_wait;
    let acquire_id = Uuid::now_v7().to_string();
    let mut pause = Pause::default();
    loop {
        let offer = runtime.host.as_ref().and_then(|host| host.offer());
        let calling = runtime.link.calls().call(
            wait + CALL_SLACK,
            |session_id| AcquireTasksRequest {
                session_id,
                acquire_id: acquire_id.clone(),
                max_tasks: i32::try_from(tasks_max).unwrap_or(i32::MAX),
                task_types: Vec::new(),
                offer: offer.clone(),
                wait: Some(duration(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))),
                start: !options.starts_later,
            },
            |mut broker, request| async move { broker.acquire_tasks(request).await },
        );
        let answer = tokio::select! {
            biased;
            answer = calling => answer,
            () = host::other_offer(runtime.host.as_ref(), offer.as_ref()) => continue,
        };
        match answer {
            Ok(answer) => return Ok(answer.tasks),
            Err(error) if is_worth_repeating(&error) => pause.after(&error).await,
            Err(error) => return Err(error),
        }
    }
}

/// Holds the tasks and runs them. Those that do not count as started yet are started together in
/// the background, so that the next poll need not wait.
fn take(runtime: &Arc<Runtime>, tasks: Vec<LeasedTask>) {
    let mut taken = Vec::new();
    for task in tasks {
        let Some(lease) = task.lease.clone() else { continue };
        let Some(stop) = runtime.held.add(&lease, true) else { continue };
        if let Some(host) = &runtime.host {
            host.taken(&task);
        }
        if task.task.as_ref().is_some_and(|task| task.state() == TaskState::Cancelling) {
            stop.raise(StopReason::Cancelled);
        }
        if task.task.as_ref().is_some_and(|task| task.start_time.is_some()) {
            runtime.spawn_attempt(lease, task, stop, false);
        } else {
            taken.push((lease, task, stop));
        }
    }
    if taken.is_empty() {
        return;
    }
    let starter = runtime.clone();
    runtime.attempts.spawn(async move {
        let leases: Vec<Lease> = taken.iter().map(|(lease, ..)| lease.clone()).collect();
        let starting = starter.detach.run_until_cancelled(start(&starter, &leases));
        let Some(statuses) = starting.await else { return };
        for (lease, task, stop) in taken {
            match verdict(&statuses, &lease) {
                LeaseVerdict::Ok => {}
                LeaseVerdict::Cancel => stop.raise(StopReason::Cancelled),
                LeaseVerdict::Lost | LeaseVerdict::Unspecified => {
                    starter.forget(&lease);
                    continue;
                }
            }
            starter.spawn_attempt(lease, task, stop, false);
        }
    });
}

/// Says that the tasks are started, until a broker answers: the first call may have been recorded
/// although its answer got lost, and who gave up then would lose a task that counts as running.
/// Meanwhile heartbeats keep the leases; a task that went to somebody else is answered LOST.
async fn start(runtime: &Runtime, leases: &[Lease]) -> Vec<LeaseStatus> {
    let starting = runtime.link.calls().call_until_answered(
        START_TIMEOUT,
        |session_id| StartTasksRequest { session_id, leases: leases.to_vec() },
        |mut broker, request| async move { broker.start_tasks(request).await },
    );
    match runtime.abort.run_until_cancelled(starting).await {
        Some(Ok(answer)) => answer.leases,
        Some(Err(error)) => {
            tracing::warn!(%error, "start was refused");
            Vec::new()
        }
        None => Vec::new(),
    }
}

fn verdict(statuses: &[LeaseStatus], lease: &Lease) -> LeaseVerdict {
    let own = statuses.iter().find(|status| status.lease.as_ref() == Some(lease));
    own.map_or(LeaseVerdict::Lost, LeaseStatus::verdict)
}
