//! What the task's own state says; a task that waits for a host has none of these reasons.

use super::{Host, Kind, Reason, Subject, words};
use crate::{
    reason::FailureReason,
    state::TaskState,
    task::{Failure, Task},
};

/// The reasons, the first of which says it all; none if they are the hosts'.
pub(super) fn reasons(subject: &Subject<'_>) -> Vec<Reason> {
    let Subject { task, now_ms, .. } = *subject;
    let told = match task.state {
        TaskState::Pending if subject.is_type_paused => {
            let name = task.id.task_type();
            Reason::new(Kind::TypePaused, format!("its type {name} is paused"))
        }
        TaskState::Pending => return Vec::new(),
        TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled => {
            return vec![ended(task, now_ms)].into_iter().chain(stopped(task)).collect();
        }
        TaskState::Paused => Reason::new(Kind::Paused, "it is paused"),
        TaskState::Blocked => waits(subject.waits_for),
        TaskState::Scheduled => scheduled(task, now_ms),
        TaskState::Running | TaskState::Cancelling => return leased(subject),
    };
    vec![told]
}

/// That it was ended for what it did on a GPU which it did not have.
fn stopped(task: &Task) -> Option<Reason> {
    let why = task.failure.as_ref().filter(|why| why.reason == FailureReason::Trespassed)?;
    Some(Reason::new(Kind::Trespass, why.message.clone()))
}

fn failure(failure: &Failure) -> String {
    let reason = words::reason(failure.reason);
    let message = failure.message.trim();
    if message.is_empty() { reason } else { format!("{reason}: {message}") }
}

fn ended(task: &Task, now_ms: i64) -> Reason {
    let how = match task.state {
        TaskState::Succeeded => "it succeeded",
        TaskState::Cancelled => "it was cancelled",
        _ => "it failed",
    };
    let ago = task.finish_time_ms.map(|end_ms| format!(" {} ago", words::span(now_ms - end_ms)));
    let why = task.failure.as_ref().map(|why| format!(": {}", failure(why)));
    let (ago, why) = (ago.unwrap_or_default(), why.unwrap_or_default());
    Reason::new(Kind::Ended, format!("{how}{ago}{why}"))
}

fn waits(waits_for: &[String]) -> Reason {
    if waits_for.is_empty() {
        return Reason::new(Kind::WaitsFor, "all that it waited for has come; it goes on at once");
    }
    Reason::new(Kind::WaitsFor, format!("it waits for {}", words::list(waits_for)))
}

fn scheduled(task: &Task, now_ms: i64) -> Reason {
    let wait = words::span(task.order_time_ms - now_ms);
    match &task.failure {
        Some(why) if task.failures > 0 || task.crashes > 0 => {
            let message = format!("it is tried again in {wait}, after {}", failure(why));
            Reason::new(Kind::BackOff, message)
        }
        _ => Reason::new(Kind::NotBefore, format!("it is not to start before {wait} from now")),
    }
}

fn leased(subject: &Subject<'_>) -> Vec<Reason> {
    let Subject { task, now_ms, hosts, .. } = *subject;
    let worker_id = &task.holder.worker_id;
    let host = hosts.iter().find(|host| host.worker_id == *worker_id);
    let place = match host {
        Some(host) if host.name != *worker_id => format!("{} (worker {worker_id})", host.name),
        _ => worker_id.clone(),
    };
    let since = |time_ms: Option<i64>| words::span(now_ms - time_ms.unwrap_or(now_ms));
    let trespasses = host.map(|host| trespasses(host, task)).unwrap_or_default();
    let reason = match (task.state, task.start_time_ms) {
        (TaskState::Running, None) => {
            let since = since(task.claim_time_ms);
            let message = format!("it was handed out to {place} {since} ago, and has not begun");
            Reason::new(Kind::HandedOut, message)
        }
        (state, start_ms) => {
            let gpus = host.map(|host| gpus(host, task)).unwrap_or_default();
            let since = since(start_ms.or(task.claim_time_ms));
            let stops = if state == TaskState::Cancelling { " and is being stopped" } else { "" };
            let mut message = format!("it runs on {place}{gpus} since {since}{stops}");
            if let Some(host) = host.filter(|host| !host.is_alive) {
                let heard = host.heard_ms.map(|heard_ms| {
                    format!("; its worker was heard of {} ago", words::span(now_ms - heard_ms))
                });
                message += &heard.unwrap_or_else(|| "; its worker is away".to_owned());
            }
            for one in &trespasses {
                message += &format!("; {}", one.message);
            }
            Reason::new(Kind::Running, message)
        }
    };
    let reason = match host {
        Some(host) => reason.on(host),
        None => Reason { worker_id: worker_id.clone(), ..reason },
    };
    [reason].into_iter().chain(trespasses).collect()
}

/// GPUs that it was found on and does not have, as its host reports it.
fn trespasses(host: &Host, task: &Task) -> Vec<Reason> {
    let id = task.id.to_string();
    let Some(report) = &host.report else { return Vec::new() };
    let of_task = report.running.iter().filter(|running| running.task_id == id);
    let uuids: Vec<&String> = of_task.flat_map(|running| &running.trespassed_gpus).collect();
    let known = report.gpus.iter().filter(|gpu| uuids.contains(&&gpu.uuid));
    let told = known.map(|gpu| {
        let message = format!("it was seen on GPU {}, which it was not given", gpu.index);
        Reason::new(Kind::Trespass, message).on(host).about(gpu)
    });
    told.collect()
}

/// `, GPU 1 and GPU 3,`
fn gpus(host: &Host, task: &Task) -> String {
    let id = task.id.to_string();
    let Some(report) = &host.report else { return String::new() };
    let of_task = report.running.iter().filter(|running| running.task_id == id);
    let uuids: Vec<&String> = of_task.flat_map(|running| &running.gpus).collect();
    let known = report.gpus.iter().filter(|gpu| uuids.contains(&&gpu.uuid));
    let names: Vec<String> = known.map(|gpu| format!("GPU {}", gpu.index)).collect();
    if names.is_empty() { String::new() } else { format!(", {},", words::list(&names)) }
}
