//! Drops a shard's tables now, whatever its type's retention is, but no task that is not terminal
//! and none that its type wants to be archived and that is not.

use super::{
    Service,
    show_shard::{find_shard, show_shard},
};
use crate::{archive::archived, status};
use asyncflow_core::{id::ShardId, shard::ShardState, validate::shard};
use asyncflow_proto::v1::{DropShardRequest, DropShardResponse};
use asyncflow_store::{Archived, DropCheck, DropOutcome, DropTerms, LeaderFence};
use tonic::Status;

pub(super) async fn drop_shard(
    service: &Service,
    request: DropShardRequest,
) -> Result<DropShardResponse, Status> {
    let id = shard::shard(&request.task_type, request.number).map_err(status::invalid)?;
    let check = check(service, &id).await?;
    let mut obstacle = obstacle(&check).unwrap_or_default();
    let is_there = check.state != ShardState::Gone && obstacle.is_empty();
    if is_there && must_archive(service, &id).await? && !service.archiver.is_set() {
        "its type is archived first, and archive.url is not set".clone_into(&mut obstacle);
    }
    let mut rows = check.rows;
    if !request.validate_only {
        rows = drop_now(service, &id, &check).await?;
    }
    Ok(DropShardResponse {
        shard: Some(show_shard(service, &id).await?),
        rows,
        retained_rows: check.retained_rows,
        obstacle: if request.validate_only { obstacle } else { String::new() },
    })
}

/// What is in the shard, and what of it the type's retention would still keep.
async fn check(service: &Service, id: &ShardId) -> Result<DropCheck, Status> {
    find_shard(service, id).await?;
    let task_type = service.task_type(&id.task_type).await?;
    let now_ms = service.store.now_ms().await.map_err(|error| status::store(&error))?;
    let before_ms = task_type.expire_before_ms(now_ms).unwrap_or(i64::MIN);
    let check = service.store.drop_check(id, before_ms).await;
    check.map_err(|error| status::store(&error))
}

/// Why it cannot be dropped. A closed shard without a live task is as good as a drained one, a
/// drop that was begun is gone on with, and one that is gone was dropped.
fn obstacle(check: &DropCheck) -> Option<String> {
    match check.state {
        ShardState::Creating => Some("its tables are being made".to_owned()),
        ShardState::Open => Some("it is open; roll it over first".to_owned()),
        ShardState::Closed | ShardState::Drained if check.live_rows > 0 => {
            Some(format!("{} of its tasks are not terminal", check.live_rows))
        }
        ShardState::Closed | ShardState::Drained | ShardState::Dropping | ShardState::Gone => None,
    }
}

/// How many rows went.
async fn drop_now(service: &Service, id: &ShardId, check: &DropCheck) -> Result<i64, Status> {
    let fence = service.fence()?;
    if let Some(obstacle) = obstacle(check) {
        return Err(status::shard_in_use(id, &obstacle));
    }
    if check.state == ShardState::Gone {
        return Ok(0);
    }
    if check.state == ShardState::Closed {
        let drained = service.store.drain_shards(Some(&id.task_type), &fence).await;
        drained.map_err(|error| status::store(&error))?;
    }
    // What of a drop that was begun is left to do was decided when it was begun.
    let archived = match check.state {
        ShardState::Dropping => None,
        _ => archive_first(service, id, &fence).await?,
    };
    // Nothing is kept for its age.
    let terms = DropTerms { before_ms: i64::MAX, archived };
    let outcome = service.store.drop_shard(id, terms, &fence).await;
    match outcome.map_err(|error| status::store(&error))? {
        DropOutcome::Dropped { rows } => {
            tracing::info!(task_type = %id.task_type, number = id.number, rows,
                "dropped a shard by hand");
            Ok(rows)
        }
        DropOutcome::Busy => Err(status::shard_busy(id)),
        DropOutcome::Kept { live: false } => {
            Err(status::shard_in_use(id, "tasks came into it meanwhile"))
        }
        DropOutcome::Kept { live: true } | DropOutcome::NotDrained => {
            Err(status::shard_in_use(id, "some of its tasks are not terminal"))
        }
    }
}

/// Writes it to the archive if its type says so.
async fn archive_first(
    service: &Service,
    id: &ShardId,
    fence: &LeaderFence,
) -> Result<Option<Archived>, Status> {
    if !must_archive(service, id).await? {
        return Ok(None);
    }
    let written = service.archiver.archive(&service.store, id, fence).await;
    written.map(|manifest| Some(archived(&manifest))).map_err(|error| status::archive(id, &error))
}

async fn must_archive(service: &Service, id: &ShardId) -> Result<bool, Status> {
    Ok(service.task_type(&id.task_type).await?.archive)
}
