//! Shards as the calls show them: registry, counts and sizes put together.

use super::Service;
use crate::convert;
use asyncflow_core::{id::TypeName, shard::Shard};
use asyncflow_proto::v1;
use asyncflow_store::StoreError;

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
