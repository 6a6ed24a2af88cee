//! A worker that makes the calls of the protocol one after the other, as one in any language may:
//! acquire and start in batches, complete one by one.

use crate::{
    brokers::{WorkerCalls, in_time},
    error::BenchError,
};
use asyncflow_proto::v1::{
    AcquireTasksRequest, CompleteTaskRequest, HeartbeatRequest, Lease, LeaseStatus, LeaseVerdict,
    RegisterWorkerRequest, StartTasksRequest, StreamCommandsRequest,
};
use std::time::Duration;
use tokio::task::JoinSet;

/// Tasks of one acquire.
pub const SLOTS: i32 = 100;
/// As the SDK's.
const WAIT_MS: i64 = 30_000;
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// A registered worker.
#[derive(Clone)]
pub struct Worker {
    client: WorkerCalls,
    session_id: String,
    heartbeat_interval: Duration,
}

impl Worker {
    pub async fn register<T: AsRef<str>>(
        mut client: WorkerCalls,
        task_types: &[T],
        slots: i32,
    ) -> Result<Self, BenchError> {
        let name = uuid::Uuid::new_v4().to_string();
        let request = RegisterWorkerRequest {
            worker_id: format!("bench-{name}"),
            incarnation: name,
            host: "bench".to_owned(),
            task_types: task_types.iter().map(|name| name.as_ref().to_owned()).collect(),
            slots,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..RegisterWorkerRequest::default()
        };
        let answer = client.register_worker(in_time(request)).await?.into_inner();
        let interval_ms = answer.heartbeat_interval.as_ref();
        let interval_ms = interval_ms.and_then(asyncflow_proto::time::duration_ms);
        let interval_ms = interval_ms.and_then(|ms| u64::try_from(ms).ok());
        let heartbeat_interval = interval_ms.map_or(HEARTBEAT_INTERVAL, Duration::from_millis);
        Ok(Self { client, session_id: answer.session_id, heartbeat_interval })
    }

    /// Waits for tasks of its types, at most 30 s.
    pub async fn acquire(&self, max_tasks: i32) -> Result<Vec<Lease>, BenchError> {
        let request = AcquireTasksRequest {
            session_id: self.session_id.clone(),
            acquire_id: uuid::Uuid::now_v7().to_string(),
            max_tasks,
            wait: Some(asyncflow_proto::time::duration(WAIT_MS)),
            ..AcquireTasksRequest::default()
        };
        let answer = self.client.clone().acquire_tasks(request).await?.into_inner();
        Ok(answer.tasks.into_iter().filter_map(|task| task.lease).collect())
    }

    pub async fn start(&self, leases: Vec<Lease>) -> Result<(), BenchError> {
        let request = StartTasksRequest { session_id: self.session_id.clone(), leases };
        self.client.clone().start_tasks(in_time(request)).await?;
        Ok(())
    }

    pub async fn complete(self, lease: Lease) -> Result<(), BenchError> {
        let Self { mut client, session_id, .. } = self;
        let lease = Some(lease);
        let request = CompleteTaskRequest { session_id, lease, ..CompleteTaskRequest::default() };
        client.complete_task(in_time(request)).await?;
        Ok(())
    }

    /// Renews the session for ever, or until the broker refuses.
    pub async fn beat(&self) -> Result<(), BenchError> {
        self.beat_from(1.0).await
    }

    /// The same, first after this share of the interval.
    pub async fn beat_from(&self, share: f64) -> Result<(), BenchError> {
        let mut wait = self.heartbeat_interval.mul_f64(share);
        loop {
            tokio::time::sleep(wait).await;
            wait = self.heartbeat_interval;
            let session_id = self.session_id.clone();
            let request = HeartbeatRequest { session_id, ..HeartbeatRequest::default() };
            self.client.clone().heartbeat(in_time(request)).await?;
        }
    }

    /// One heartbeat with these leases, and what it says of them.
    pub async fn beat_with(&self, leases: Vec<Lease>) -> Result<Vec<LeaseVerdict>, BenchError> {
        let session_id = self.session_id.clone();
        let request = HeartbeatRequest { session_id, leases, ..HeartbeatRequest::default() };
        let answer = self.client.clone().heartbeat(in_time(request)).await?.into_inner();
        Ok(answer.leases.iter().map(LeaseStatus::verdict).collect())
    }

    /// Follows the broker's commands, of which there are none here, until the stream ends.
    pub async fn follow_commands(&self) -> Result<(), BenchError> {
        let request = StreamCommandsRequest { session_id: self.session_id.clone() };
        let mut commands = self.client.clone().stream_commands(request).await?.into_inner();
        while commands.message().await?.is_some() {}
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
