//! Shards as the calls show them: registry, counts and sizes put together.

use super::Service;
use crate::{convert, status};
use asyncflow_core::{
    id::{ShardId, TypeName},
    shard::Shard,
};
use asyncflow_proto::v1;
use asyncflow_store::StoreError;
use tonic::Status;

/// Shows shards, which are all of one type if `task_type` says so. Rows are those that are counted
/// with every change; a database that does not tell sizes now is no reason to refuse.
pub(super) async fn show_shards(
    service: &Service,
    shards: &[Shard],
    task_type: Option<&TypeName>,
) -> Result<Vec<v1::Shard>, StoreError> {
    let counts = service.store.shard_counts(task_type).await?;
    let sizes = service.store.shard_sizes().await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the sizes of shards are not known");
        Default::default()
    });
    let show = |shard: &Shard| {
        convert::shard(shard, &counts, sizes.get(&shard.id).copied().unwrap_or_default())
    };
    Ok(shards.iter().map(show).collect())
}

/// Shows one shard as it is now.
pub(super) async fn show_shard(service: &Service, id: &ShardId) -> Result<v1::Shard, Status> {
    let found = find_shard(service, id).await?;
    let shown = show_shards(service, &[found], Some(&id.task_type)).await;
    let shown = shown.map_err(|error| status::store(&error))?;
    shown.into_iter().next().ok_or_else(|| status::shard_not_found(id))
}

/// The registry's row of a shard.
pub(super) async fn find_shard(service: &Service, id: &ShardId) -> Result<Shard, Status> {
    let shards = service.store.list_shards(Some(&id.task_type)).await;
    let shards = shards.map_err(|error| status::store(&error))?;
    shards.into_iter().find(|s| s.id == *id).ok_or_else(|| status::shard_not_found(id))
}
