//! Writes a drained shard to the archive; it is not dropped by it.

use super::{
    Service,
    show_shard::{find_shard, show_shard},
};
use crate::status;
use asyncflow_core::{shard::ShardState, validate::shard};
use asyncflow_proto::v1::{ArchiveShardRequest, ArchiveShardResponse};
use tonic::Status;

pub(super) async fn archive_shard(
    service: &Service,
    request: ArchiveShardRequest,
) -> Result<ArchiveShardResponse, Status> {
    let id = shard::shard(&request.task_type, request.number).map_err(status::invalid)?;
    let fence = service.fence()?;
    if find_shard(service, &id).await?.state == ShardState::Closed {
        let drained = service.store.drain_shards(Some(&id.task_type), &fence).await;
        drained.map_err(|error| status::store(&error))?;
    }
    let written = service.archiver.archive(&service.store, &id, &fence).await;
    let manifest = written.map_err(|error| status::archive(&id, &error))?;
    tracing::info!(task_type = %id.task_type, number = id.number, rows = manifest.rows,
        "archived a shard by hand");
    Ok(ArchiveShardResponse {
        shard: Some(show_shard(service, &id).await?),
        rows: i64::try_from(manifest.rows).unwrap_or(i64::MAX),
        bytes: i64::try_from(manifest.bytes()).unwrap_or(i64::MAX),
    })
}
