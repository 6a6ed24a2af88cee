//! From PENDING to SUCCEEDED through the worker's protocol: acquire and start in batches, complete
//! one by one, as a worker with many short tasks does.

use crate::{
    clock::Stopwatch, creates::TASK_TYPE, error::BenchError, rate, record::Records, target::Target,
};
use asyncflow_proto::v1::{
    AcquireTasksRequest, CompleteTaskRequest, HeartbeatRequest, Lease, RegisterWorkerRequest,
    StartTasksRequest, worker_service_client::WorkerServiceClient,
};
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::transport::Channel;

const WORKERS: usize = 4;
/// Tasks of one acquire.
pub const ACQUIRE: i32 = 100;

/// A registered worker of one task type.
#[derive(Clone)]
pub struct Worker {
    pub client: WorkerServiceClient<Channel>,
    pub session_id: String,
    pub task_type: &'static str,
}

impl Worker {
    pub async fn register(
        target: &Target,
        task_type: &'static str,
        slots: i32,
    ) -> Result<Self, BenchError> {
        let mut client = target.worker().await?;
        let name = uuid::Uuid::new_v4().to_string();
        let request = RegisterWorkerRequest {
            worker_id: format!("bench-{name}"),
            incarnation: name,
            host: "bench".to_owned(),
            task_types: vec![task_type.to_owned()],
            slots,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..RegisterWorkerRequest::default()
        };
        let session_id = client.register_worker(request).await?.into_inner().session_id;
        Ok(Self { client, session_id, task_type })
    }

    /// Waits for tasks, at most 10 s.
    pub async fn acquire(&self, max_tasks: i32) -> Result<Vec<Lease>, BenchError> {
        let request = AcquireTasksRequest {
            session_id: self.session_id.clone(),
            acquire_id: uuid::Uuid::now_v7().to_string(),
            max_tasks,
            task_types: vec![self.task_type.to_owned()],
            wait: Some(asyncflow_proto::time::duration(10_000)),
            start: false,
        };
        let answer = self.client.clone().acquire_tasks(request).await?.into_inner();
        Ok(answer.tasks.into_iter().filter_map(|task| task.lease).collect())
    }

    pub async fn start(&self, leases: Vec<Lease>) -> Result<(), BenchError> {
        let request = StartTasksRequest { session_id: self.session_id.clone(), leases };
        self.client.clone().start_tasks(request).await?;
        Ok(())
    }

    pub async fn complete(self, lease: Lease) -> Result<(), BenchError> {
        let Self { mut client, session_id, .. } = self;
        let lease = Some(lease);
        client
            .complete_task(CompleteTaskRequest { session_id, lease, ..Default::default() })
            .await?;
        Ok(())
    }

    /// Renews the session.
    pub async fn beat(&self) -> Result<(), BenchError> {
        let session_id = self.session_id.clone();
        let request = HeartbeatRequest { session_id, ..HeartbeatRequest::default() };
        self.client.clone().heartbeat(request).await?;
        Ok(())
    }

    /// Acquires at most `most`, starts and completes; how many.
    pub async fn work_off(self, most: i32) -> Result<u64, BenchError> {
        let leases = self.acquire(most).await?;
        let count = leases.len() as u64;
        if count > 0 {
            self.start(leases.clone()).await?;
        }
        let mut completions = JoinSet::new();
        for lease in leases {
            completions.spawn(self.clone().complete(lease));
        }
        while let Some(ended) = completions.join_next().await {
            ended.map_err(|error| BenchError::Other(error.to_string()))??;
        }
        Ok(count)
    }
}

/// Works off what `creates` has left, for at most `span`.
pub async fn measure(
    target: &Target,
    span: Duration,
    records: &mut Records,
) -> Result<(), BenchError> {
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(Worker::register(target, TASK_TYPE, ACQUIRE).await?);
    }
    let left = waiting(target).await?;
    let started = Stopwatch::start();
    let rate = rate::measure(workers, span, |worker| worker.work_off(ACQUIRE)).await?;
    if rate.count >= left {
        let text = format!("only {left} tasks for {:?} of drain", started.elapsed());
        return Err(BenchError::Other(text));
    }
    let measure = format!("acquire, start, complete by {WORKERS} workers of {ACQUIRE} slots");
    records.add(&measure, "tasks/s", rate.per_second())
}

async fn waiting(target: &Target) -> Result<u64, BenchError> {
    use asyncflow_proto::v1::{CountTasksRequest, TaskState};
    let answer = target.owner().await?.count_tasks(CountTasksRequest::default()).await?;
    let counts = answer.into_inner().counts;
    let pending = counts
        .iter()
        .filter(|count| count.task_type == TASK_TYPE && count.state() == TaskState::Pending);
    Ok(pending.map(|count| u64::try_from(count.count).unwrap_or(0)).sum())
}
