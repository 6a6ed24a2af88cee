//! Where a hold runs, by what its worker tells.

use crate::{connection::Broker, error::CliError, fleet};
use asyncflow_proto::v1::{Gpu, Host, Task};
use std::time::Duration;

/// How often the hosts are asked for, and how often at most: a worker tells of a task that has just
/// begun within a few seconds.
const ROUND: Duration = Duration::from_millis(500);
const ROUNDS_MAX: usize = 40;

/// A host and the GPUs of a task there.
pub struct Place {
    pub host: String,
    pub worker_id: String,
    pub provider: String,
    pub gpus: Vec<Gpu>,
}

/// Asks until the worker has told which GPUs the task has.
///
/// # Errors
/// [`CliError::Failed`] when it does not tell.
pub async fn find(broker: &Broker, task: &Task) -> Result<Place, CliError> {
    for _ in 0..ROUNDS_MAX {
        let hosts = fleet::hosts(broker).await?;
        if let Some(place) = hosts.iter().find_map(|host| place(host, task)) {
            return Ok(place);
        }
        tokio::time::sleep(ROUND).await;
    }
    Err(CliError::Failed(format!(
        "{} runs on worker {}, which does not tell on which GPUs; `asyncflow task cancel {0}` \
         gives them back",
        task.id, task.worker_id
    )))
}

fn place(host: &Host, task: &Task) -> Option<Place> {
    let (worker, report) = (host.worker.as_ref()?, host.report.as_ref()?);
    let is_it = |uuids: &[String], gpu: &Gpu| uuids.contains(&gpu.uuid);
    let running = report.running.iter().find(|running| {
        running.task_id == task.id && running.attempt == task.attempt && !running.gpus.is_empty()
    })?;
    let gpus = report.gpus.iter().filter(|gpu| is_it(&running.gpus, gpu));
    Some(Place {
        host: fleet::name(host).to_owned(),
        worker_id: worker.worker_id.clone(),
        provider: report.gpu_provider.clone(),
        gpus: gpus.cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::fleet::tests::host;
    use asyncflow_proto::v1::RunningTask;

    #[test]
    fn only_the_attempt_in_force_tells_the_place() {
        let mut host = host("w", "anna", &["GPU-a", "GPU-b"]);
        let task = Task { id: "hold-1-x".to_owned(), attempt: 2, ..Task::default() };
        let running = |attempt| RunningTask {
            task_id: task.id.clone(),
            attempt,
            gpus: vec!["GPU-b".to_owned()],
            ..RunningTask::default()
        };
        host.report.as_mut().unwrap().running = vec![running(1)];
        assert!(place(&host, &task).is_none());
        host.report.as_mut().unwrap().running = vec![running(2)];
        let place = place(&host, &task).unwrap();
        assert_eq!((place.host.as_str(), place.gpus[0].index), ("anna", 1));
    }
}
