//! Closes a type's open shard now and opens the next one.

use super::{Service, show_shard::show_shard};
use crate::status;
use asyncflow_core::validate::shard;
use asyncflow_proto::v1::{RollShardRequest, RollShardResponse};
use tonic::Status;

pub(super) async fn roll_shard(
    service: &Service,
    request: RollShardRequest,
) -> Result<RollShardResponse, Status> {
    let name = shard::task_type(&request.task_type).map_err(status::invalid)?;
    let fence = service.fence()?;
    service.task_type(&name).await?;
    let rolled = service.store.roll_shard(&name, Some(&fence)).await;
    let id = rolled.map_err(|error| status::store(&error))?;
    tracing::info!(task_type = %name, number = id.number, "rolled over by hand");
    Ok(RollShardResponse { shard: Some(show_shard(service, &id).await?) })
}
