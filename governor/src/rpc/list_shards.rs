//! Lists shards, by type and number.

use super::Service;
use crate::status;
use asyncflow_core::{
    digest,
    filter::Filter,
    id::{ShardId, TypeName},
    page::{self, PagePosition},
    shard::{Shard, ShardState},
    validate::{at::At, list::page_size},
    violation::Violations,
};
use asyncflow_proto::{time::timestamp, v1};
use std::collections::HashMap;
use tonic::Status;

/// A checked request.
struct Listing {
    task_type: Option<TypeName>,
    size: usize,
    after: Option<PagePosition>,
    digest: i64,
}

pub(super) async fn list_shards(
    service: &Service,
    request: v1::ListShardsRequest,
) -> Result<v1::ListShardsResponse, Status> {
    let listing = check(&request).map_err(status::invalid)?;
    let shards = service.store.list_shards(listing.task_type.as_ref()).await;
    let mut shards = shards.map_err(|error| status::store(&error))?;
    if let Some(after) = &listing.after {
        shards.retain(|shard| {
            (shard.id.task_type.as_str(), shard.id.number) > (&*after.task_type, after.shard)
        });
    }
    let more = shards.len() > listing.size;
    shards.truncate(listing.size);
    let next_page_token = match shards.last() {
        Some(last) if more => page::encode(&position_of(last), listing.digest),
        _ => String::new(),
    };
    let rows = rows_by_shard(service, listing.task_type).await?;
    let shards = shards.iter().map(|shard| show(shard, rows.get(&shard.id))).collect();
    Ok(v1::ListShardsResponse { shards, next_page_token })
}

fn check(request: &v1::ListShardsRequest) -> Result<Listing, Violations> {
    let mut violations = Violations::new();
    let task_type = match request.task_type.as_str() {
        "" => None,
        text => TypeName::new(text)
            .map_err(|error| violations.add(At::REQUEST.field("task_type"), error.to_string()))
            .ok(),
    };
    let digest = digest::list("ListShards", &request.task_type, &Filter::default());
    let size = page_size(request.page_size, &mut violations);
    let after = page::check(&request.page_token, digest, &mut violations);
    violations.none()?;
    Ok(Listing { task_type, size: usize::try_from(size).unwrap_or(1), after, digest })
}

fn position_of(shard: &Shard) -> PagePosition {
    PagePosition {
        task_type: shard.id.task_type.as_str().to_owned(),
        shard: shard.id.number,
        ..PagePosition::default()
    }
}

/// Rows and live rows of each shard, from the counts that are kept with every change.
async fn rows_by_shard(
    service: &Service,
    task_type: Option<TypeName>,
) -> Result<HashMap<ShardId, (i64, i64)>, Status> {
    let counts = service.store.shard_counts(task_type.as_ref()).await;
    let counts = counts.map_err(|error| status::store(&error))?;
    let mut rows: HashMap<ShardId, (i64, i64)> = HashMap::new();
    for count in counts {
        let (all, live) = rows.entry(count.shard).or_default();
        *all += count.tasks;
        *live += if count.state.is_terminal() { 0 } else { count.tasks };
    }
    Ok(rows)
}

fn show(shard: &Shard, rows: Option<&(i64, i64)>) -> v1::Shard {
    let (rows, live_rows) = rows.copied().unwrap_or_default();
    v1::Shard {
        task_type: shard.id.task_type.as_str().to_owned(),
        number: shard.id.number,
        state: state(shard.state).into(),
        rows,
        live_rows,
        create_time: Some(timestamp(shard.create_time_ms)),
        ..v1::Shard::default()
    }
}

fn state(state: ShardState) -> v1::ShardState {
    match state {
        ShardState::Creating => v1::ShardState::Creating,
        ShardState::Open => v1::ShardState::Open,
        ShardState::Closed => v1::ShardState::Closed,
        ShardState::Drained => v1::ShardState::Drained,
        ShardState::Dropping => v1::ShardState::Dropping,
        ShardState::Gone => v1::ShardState::Gone,
    }
}
