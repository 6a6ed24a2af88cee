//! ListHosts: by worker id, page by page.

use std::collections::HashMap;

use asyncflow_core::{
    digest,
    filter::Filter,
    page::{self, PagePosition},
    validate::list,
    violation::Violations,
};
use asyncflow_proto::v1;

use super::{absent, told};
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
    let mut ids = broker.store.list_host_ids(after, limit + 1).await?;
    let is_last = ids.len() <= limit as usize;
    ids.truncate(limit as usize);
    let next = ids
        .last()
        .filter(|_| !is_last)
        .map(|last| PagePosition { task_type: last.clone(), ..PagePosition::default() });
    // All of them that are registered, and maybe some that come after.
    let rows = broker.store.list_hosts(after, limit).await?;
    let rows = rows.into_iter().filter(|row| ids.contains(&row.worker.registration.worker_id));
    let there = told(broker, rows.collect()).await?.into_iter();
    let mut there: HashMap<String, v1::Host> =
        there.filter_map(|host| Some((host.worker.as_ref()?.worker_id.clone(), host))).collect();
    let away: Vec<String> = ids.iter().filter(|id| !there.contains_key(*id)).cloned().collect();
    there.extend(absent(broker, away).await?);
    let hosts = ids.iter().filter_map(|id| there.remove(id)).collect();
    Ok(v1::ListHostsResponse {
        hosts,
        next_page_token: next.map(|next| page::encode(&next, list)).unwrap_or_default(),
    })
}
