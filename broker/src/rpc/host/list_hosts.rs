//! ListHosts: by worker id, page by page.

use asyncflow_core::{
    digest,
    filter::Filter,
    page::{self, PagePosition},
    validate::list,
    violation::Violations,
};
use asyncflow_proto::v1;

use super::told;
use crate::{broker::Broker, error::RpcError};

pub async fn list_hosts(
    broker: &Broker,
    request: v1::ListHostsRequest,
) -> Result<v1::ListHostsResponse, RpcError> {
    let mut violations = Violations::new();
    let limit = list::page_size(request.page_size, &mut violations).unsigned_abs();
    let list = digest::list("ListHosts", "", &Filter::default());
    let after = page::check(&request.page_token, list, &mut violations);
    violations.none()?;

    let after = after.as_ref().map(|position| position.task_type.as_str());
    let mut rows = broker.store.list_hosts(after, limit + 1).await?;
    let is_last = rows.len() <= limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| !is_last).map(|last| PagePosition {
        task_type: last.worker.registration.worker_id.clone(),
        ..PagePosition::default()
    });
    Ok(v1::ListHostsResponse {
        hosts: told(broker, rows).await?,
        next_page_token: next.map(|next| page::encode(&next, list)).unwrap_or_default(),
    })
}
