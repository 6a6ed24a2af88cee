//! Closes a type's open shard now and opens the next one.

use super::{Service, show_shard::show_shard};
use crate::status;
use asyncflow_core::{
    id::{ShardId, TypeName},
    shard::ShardState,
    validate::shard,
};
use asyncflow_proto::v1::{RollShardRequest, RollShardResponse};
use asyncflow_store::StoreError;
use tonic::Status;

pub(super) async fn roll_shard(
    service: &Service,
    request: RollShardRequest,
) -> Result<RollShardResponse, Status> {
    let name = shard::task_type(&request.task_type).map_err(status::invalid)?;
    let fence = service.fence()?;
    service.task_type(&name).await?;
    let empty = empty_open_shard(service, &name).await.map_err(|error| status::store(&error))?;
    if let Some(id) = empty {
        return Ok(RollShardResponse { shard: Some(show_shard(service, &id).await?) });
    }
    let rolled = service.store.roll_shard(&name, Some(&fence)).await;
    let id = rolled.map_err(|error| status::store(&error))?;
    tracing::info!(task_type = %name, number = id.number, "rolled over by hand");
    Ok(RollShardResponse { shard: Some(show_shard(service, &id).await?) })
}

/// The open shard if it holds no task: a call that is repeated, or that comes right behind the
/// duty, would close it for nothing.
async fn empty_open_shard(
    service: &Service,
    name: &TypeName,
) -> Result<Option<ShardId>, StoreError> {
    let shards = service.store.list_shards(Some(name)).await?;
    let counts = service.store.shard_counts(Some(name)).await?;
    let open = shards.into_iter().rev().find(|shard| shard.state == ShardState::Open);
    let is_empty = |id: &ShardId| counts.iter().all(|count| count.shard != *id);
    Ok(open.map(|shard| shard.id).filter(is_empty))
}
