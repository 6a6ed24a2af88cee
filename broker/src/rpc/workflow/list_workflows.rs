//! ListWorkflows: newest first, page by page.

use asyncflow_core::{
    access::Principal,
    digest,
    filter::Filter,
    id::WorkflowId,
    page::{self, PagePosition},
    validate::list,
    violation::Violations,
};
use asyncflow_proto::v1;

use crate::{broker::Broker, convert, error::RpcError, principal::own};

pub async fn list_workflows(
    broker: &Broker,
    caller: &Principal,
    mut request: v1::ListWorkflowsRequest,
) -> Result<v1::ListWorkflowsResponse, RpcError> {
    if let Some(user) = own(caller, request.own) {
        if !request.user.is_empty() && request.user != user {
            return Ok(v1::ListWorkflowsResponse::default());
        }
        user.clone_into(&mut request.user);
    }
    let mut violations = Violations::new();
    let limit = list::page_size(request.page_size, &mut violations).unsigned_abs();
    let list = digest::list("ListWorkflows", &request.user, &Filter::default());
    let before = page::check(&request.page_token, list, &mut violations);
    violations.none()?;

    let user = Some(request.user.as_str()).filter(|user| !user.is_empty());
    let before = before.map(|position| WorkflowId(position.key));
    let mut workflows = broker.store.list_workflows(user, before, limit + 1).await?;
    let is_last = workflows.len() <= limit as usize;
    workflows.truncate(limit as usize);
    let next = workflows
        .last()
        .filter(|_| !is_last)
        .map(|last| PagePosition { key: last.id.0, ..PagePosition::default() });
    Ok(v1::ListWorkflowsResponse {
        workflows: workflows.into_iter().map(convert::workflow::to_proto).collect(),
        next_page_token: next.map(|next| page::encode(&next, list)).unwrap_or_default(),
    })
}
