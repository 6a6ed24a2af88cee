//! PauseTask: takes a waiting task out of the queue.

use asyncflow_core::{access::Principal, event::Event};
use asyncflow_proto::v1;

use super::change;
use crate::{broker::Broker, error::RpcError};

pub async fn pause_task(
    broker: &Broker,
    caller: &Principal,
    request: v1::PauseTaskRequest,
) -> Result<v1::PauseTaskResponse, RpcError> {
    let task = change(broker, caller, &request.task_id, Event::Pause).await?;
    Ok(v1::PauseTaskResponse { task: Some(task) })
}
