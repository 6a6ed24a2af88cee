//! ListWorkers: by id, page by page.

use asyncflow_core::{
    digest,
    filter::Filter,
    page::{self, PagePosition},
    validate::list,
    violation::Violations,
};
use asyncflow_proto::v1;

use crate::{broker::Broker, convert, error::RpcError};

/// A worker is alive when it was heard of within so many heartbeats.
const ALIVE_HEARTBEATS: i64 = 3;

pub async fn list_workers(
    broker: &Broker,
    request: v1::ListWorkersRequest,
) -> Result<v1::ListWorkersResponse, RpcError> {
    let mut violations = Violations::new();
    let limit = list::page_size(request.page_size, &mut violations).unsigned_abs();
    let list = digest::list("ListWorkers", "", &Filter::default());
    let after = page::check(&request.page_token, list, &mut violations);
    violations.none()?;

    let after = after.as_ref().map(|position| position.task_type.as_str());
    let mut rows = broker.store.list_workers(after, limit + 1).await?;
    let is_last = rows.len() <= limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| !is_last).map(|last| PagePosition {
        task_type: last.registration.worker_id.clone(),
        ..PagePosition::default()
    });
    let silence_ms = ALIVE_HEARTBEATS * broker.config.lease.heartbeat_interval_ms;
    let alive_from_ms = broker.store.now_ms().await? - silence_ms;
    Ok(v1::ListWorkersResponse {
        workers: rows.into_iter().map(|row| convert::work::worker(row, alive_from_ms)).collect(),
        next_page_token: next.map(|next| page::encode(&next, list)).unwrap_or_default(),
    })
}
