//! Creates per second, each answered after its commit.

use crate::{error::BenchError, rate, record::Records, target::Target};
use asyncflow_proto::v1::{
    BatchCreateTasksRequest, Content, CreateTaskRequest, TaskSpec,
    broker_service_client::BrokerServiceClient,
};
use std::time::Duration;
use tonic::transport::Channel;

/// The type of the tasks that are created here and run by `drain`.
pub const TASK_TYPE: &str = "bench";
const PAYLOAD_BYTES: usize = 200;
const CONNECTIONS: usize = 8;
const IN_FLIGHT: usize = 256;
const BATCH: usize = 500;
const BATCHES_IN_FLIGHT: usize = 4;

/// A request as an SDK sends it: with a request id.
pub fn request(task_type: &str) -> CreateTaskRequest {
    let payload = Content {
        data: vec![b'x'; PAYLOAD_BYTES].into(),
        content_type: "application/octet-stream".to_owned(),
    };
    let task =
        TaskSpec { task_type: task_type.to_owned(), payload: Some(payload), ..TaskSpec::default() };
    CreateTaskRequest {
        task: Some(task),
        request_id: uuid::Uuid::now_v7().to_string(),
        ..CreateTaskRequest::default()
    }
}

/// `count` clients on a few connections.
pub async fn owners(
    target: &Target,
    count: usize,
) -> Result<Vec<BrokerServiceClient<Channel>>, BenchError> {
    let mut connections = Vec::new();
    for _ in 0..count.min(CONNECTIONS) {
        connections.push(target.owner().await?);
    }
    Ok(connections.iter().cycle().take(count).cloned().collect())
}

pub async fn measure(
    target: &Target,
    span: Duration,
    records: &mut Records,
) -> Result<(), BenchError> {
    // The first create makes the tables of its type.
    target.owner().await?.create_task(request(TASK_TYPE)).await?;
    for in_flight in [1, IN_FLIGHT] {
        let owners = owners(target, in_flight).await?;
        let rate = rate::measure(owners, span, |mut owner| async move {
            owner.create_task(request(TASK_TYPE)).await?;
            Ok(1)
        });
        let measure = format!("CreateTask, {in_flight} in flight");
        records.add(&measure, "tasks/s", rate.await?.per_second())?;
    }
    let owners = owners(target, BATCHES_IN_FLIGHT).await?;
    let rate = rate::measure(owners, span, |mut owner| async move {
        let requests = (0..BATCH).map(|_| request(TASK_TYPE)).collect();
        owner.batch_create_tasks(BatchCreateTasksRequest { requests }).await?;
        Ok(BATCH as u64)
    });
    let measure = format!("BatchCreateTasks of {BATCH}, {BATCHES_IN_FLIGHT} in flight");
    records.add(&measure, "tasks/s", rate.await?.per_second())
}
