//! Writes a drained shard to the archive; it is not dropped by it.

use super::{
    Service,
    show_shard::{find_shard, show_shard},
};
use crate::{archive::ArchivingError, status};
use asyncflow_core::{shard::ShardState, validate::shard};
use asyncflow_proto::v1::{ArchiveShardRequest, ArchiveShardResponse};
use tonic::Status;

pub(super) async fn archive_shard(
    service: &Service,
    request: ArchiveShardRequest,
) -> Result<ArchiveShardResponse, Status> {
    let id = shard::shard(&request.task_type, request.number).map_err(status::invalid)?;
    let fence = service.fence()?;
    let shard = find_shard(service, &id).await?;
    if !service.archiver.is_set() {
        return Err(status::archive(&id, &ArchivingError::NoArchive));
    }
    match shard.state {
        ShardState::Closed => {
            let drained = service.store.drain_shards(Some(&id.task_type), &fence).await;
            drained.map_err(|error| status::store(&error))?;
        }
        ShardState::Creating | ShardState::Open => {
            return Err(status::shard_in_use(&id, "it is open; roll it over first"));
        }
        ShardState::Gone if shard.archive.is_empty() => {
            return Err(status::shard_in_use(&id, "it was dropped, and has no archive"));
        }
        ShardState::Gone => {
            let obstacle = format!("it was dropped; its archive is {}", shard.archive);
            return Err(status::shard_in_use(&id, &obstacle));
        }
        ShardState::Drained | ShardState::Dropping => {}
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
