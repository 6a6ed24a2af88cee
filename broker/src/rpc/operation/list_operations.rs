//! ListOperations: newest first, page by page.

use asyncflow_core::{
    digest,
    filter::Filter,
    id::OperationId,
    limits::USER_BYTES_MAX,
    page::{self, PagePosition},
    validate::{at::At, list, text},
    violation::Violations,
};
use asyncflow_proto::v1;

use crate::{broker::Broker, convert, error::RpcError};

pub async fn list_operations(
    broker: &Broker,
    request: v1::ListOperationsRequest,
) -> Result<v1::ListOperationsResponse, RpcError> {
    let mut violations = Violations::new();
    text::line(&request.user, USER_BYTES_MAX, At::REQUEST.field("user"), &mut violations);
    let limit = list::page_size(request.page_size, &mut violations).unsigned_abs();
    let list = digest::list("ListOperations", &request.user, &Filter::default());
    let before = page::check(&request.page_token, list, &mut violations);
    violations.none()?;

    let user = Some(request.user.as_str()).filter(|user| !user.is_empty());
    let before = before.map(|position| OperationId(position.key));
    let mut operations = broker.store.list_operations(user, before, limit + 1).await?;
    let is_last = operations.len() <= limit as usize;
    operations.truncate(limit as usize);
    let next = operations
        .last()
        .filter(|_| !is_last)
        .map(|last| PagePosition { key: last.id.0, ..PagePosition::default() });
    Ok(v1::ListOperationsResponse {
        operations: operations.into_iter().map(convert::operation::to_proto).collect(),
        next_page_token: next.map(|next| page::encode(&next, list)).unwrap_or_default(),
    })
}
