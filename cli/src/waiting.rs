//! Why a task still waits in the queue: what people ask when `run` shows nothing.

use crate::connection::Broker;
use asyncflow_proto::v1::{Task, TaskState, Worker};
use std::time::Duration;

/// How long a task may wait before people wonder.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The answer is a courtesy: nothing else waits longer for it.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the broker why; `None` when the task does not wait in the queue or the broker is busy.
pub async fn why(broker: &Broker, task: &Task) -> Option<String> {
    if !matches!(task.state(), TaskState::Pending | TaskState::Paused) {
        return None;
    }
    tokio::time::timeout(ASK_TIMEOUT, ask(broker, task)).await.ok()?
}

async fn ask(broker: &Broker, task: &Task) -> Option<String> {
    // A broker that knows gives one sentence; what follows is for one that does not.
    if let Ok(explained) = broker.client.explain(&task.id).await
        && !explained.explanations.is_empty()
    {
        return Some(explained.summary);
    }
    if task.state() == TaskState::Paused {
        return Some(format!("it is paused; `asyncflow task resume {}` lets it go on", task.id));
    }
    let task_type = broker.client.get_type(&task.task_type).await.ok()?;
    if task_type.paused {
        let name = &task_type.name;
        return Some(format!(
            "it waits because task type {name} is paused; \
             `asyncflow type set {name} --paused false` lets its tasks go on"
        ));
    }
    let workers = broker.client.workers().await.ok()?;
    Some(if workers.iter().any(|worker| takes(worker, task)) {
        "it waits until a worker has room; see `asyncflow worker list`".to_owned()
    } else {
        format!(
            "it waits because no worker that is alive takes tasks of type {}; \
             see `asyncflow worker list`",
            task.task_type
        )
    })
}

fn takes(worker: &Worker, task: &Task) -> bool {
    let by_command = worker.takes_commands && task.command.is_some();
    let by_type = || worker.task_types.iter().any(|name| name == "*" || *name == task.task_type);
    worker.alive && !worker.draining && (by_command || by_type())
}

#[cfg(test)]
mod tests {
    use asyncflow_proto::v1::Command;

    use super::*;

    #[test]
    fn a_worker_takes_what_it_names_while_it_is_well() {
        let worker = |types: &[&str]| Worker {
            alive: true,
            task_types: types.iter().map(|name| (*name).to_owned()).collect(),
            ..Worker::default()
        };
        let train = Task { task_type: "train".into(), ..Task::default() };
        assert!(takes(&worker(&["*"]), &train));
        assert!(takes(&worker(&["eval", "train"]), &train));
        assert!(!takes(&worker(&["eval"]), &train));
        assert!(!takes(&Worker { alive: false, ..worker(&["*"]) }, &train));
        assert!(!takes(&Worker { draining: true, ..worker(&["*"]) }, &train));
        let by_command = Worker { takes_commands: true, ..worker(&[]) };
        assert!(!takes(&by_command, &train));
        assert!(takes(&by_command, &Task { command: Some(Command::default()), ..train }));
    }
}
