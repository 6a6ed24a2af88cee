//! What the task's own state says; a task that waits for a host has none of these reasons.

use super::{Host, Kind, Reason, Subject, words};
use crate::{
    state::TaskState,
    task::{Failure, Task},
};

/// The reason, unless it is the hosts'.
pub(super) fn reason(subject: &Subject<'_>) -> Option<Reason> {
    let Subject { task, now_ms, .. } = *subject;
    let told = match task.state {
        TaskState::Pending if subject.is_type_paused => {
            let name = task.id.task_type();
            Reason::new(Kind::TypePaused, format!("its type {name} is paused"))
        }
        TaskState::Pending => return None,
        TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled => ended(task, now_ms),
        TaskState::Paused => Reason::new(Kind::Paused, "it is paused"),
        TaskState::Blocked => waits(subject.waits_for),
        TaskState::Scheduled => scheduled(task, now_ms),
        TaskState::Running | TaskState::Cancelling => leased(subject),
    };
    Some(told)
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

fn leased(subject: &Subject<'_>) -> Reason {
    let Subject { task, now_ms, hosts, .. } = *subject;
    let worker_id = &task.holder.worker_id;
    let host = hosts.iter().find(|host| host.worker_id == *worker_id);
    let place = match host {
        Some(host) if host.name != *worker_id => format!("{} (worker {worker_id})", host.name),
        _ => worker_id.clone(),
    };
    let since = |time_ms: Option<i64>| words::span(now_ms - time_ms.unwrap_or(now_ms));
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
            let message = format!("it runs on {place}{gpus} since {since}{stops}");
            Reason::new(Kind::Running, message)
        }
    };
    match host {
        Some(host) => reason.on(host),
        None => Reason { worker_id: worker_id.clone(), ..reason },
    }
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
