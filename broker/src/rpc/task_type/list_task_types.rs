//! ListTaskTypes: by name, page by page.

use asyncflow_core::{
    digest,
    filter::Filter,
    page::{self, PagePosition},
    validate::list,
    violation::Violations,
};
use asyncflow_proto::v1;

use crate::{broker::Broker, convert, error::RpcError};

pub async fn list_task_types(
    broker: &Broker,
    request: v1::ListTaskTypesRequest,
) -> Result<v1::ListTaskTypesResponse, RpcError> {
    let mut violations = Violations::new();
    let limit = list::page_size(request.page_size, &mut violations).unsigned_abs();
    let list = digest::list("ListTaskTypes", "", &Filter::default());
    let after = page::check(&request.page_token, list, &mut violations);
    violations.none()?;

    let after = after.as_ref().map(|position| position.task_type.as_str());
    let mut types = broker.store.list_types(after, limit + 1).await?;
    let is_last = types.len() <= limit as usize;
    types.truncate(limit as usize);
    let next = types
        .last()
        .filter(|_| !is_last)
        .map(|last| PagePosition { task_type: last.name.to_string(), ..PagePosition::default() });
    Ok(v1::ListTaskTypesResponse {
        task_types: types.into_iter().map(convert::task_type::to_proto).collect(),
        next_page_token: next.map(|next| page::encode(&next, list)).unwrap_or_default(),
    })
}
