//! Lists shards, by type and number.

use super::{Service, show_shard::show_shards};
use crate::status;
use asyncflow_core::{
    digest,
    filter::Filter,
    id::TypeName,
    page::{self, PagePosition},
    shard::Shard,
    validate::{at::At, list::page_size},
    violation::Violations,
};
use asyncflow_proto::v1;
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
    let shards = show_shards(service, &shards, listing.task_type.as_ref()).await;
    let shards = shards.map_err(|error| status::store(&error))?;
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
