//! ListWorkflowItems: the tasks and workflows of a workflow, by node and index.

use asyncflow_core::{
    digest,
    filter::Filter,
    page::{self, PagePosition},
    validate::list,
    violation::Violations,
};
use asyncflow_proto::v1;

use super::workflow_id;
use crate::{broker::Broker, convert, error::RpcError};

pub async fn list_workflow_items(
    broker: &Broker,
    request: v1::ListWorkflowItemsRequest,
) -> Result<v1::ListWorkflowItemsResponse, RpcError> {
    let id = workflow_id(&request.workflow_id)?;
    let mut violations = Violations::new();
    let limit = list::page_size(request.page_size, &mut violations).unsigned_abs();
    let of = format!("{id}/{}", request.node);
    let list = digest::list("ListWorkflowItems", &of, &Filter::default());
    let after = page::check(&request.page_token, list, &mut violations);
    violations.none()?;

    let names = broker.store.workflow_node_names(id).await?;
    let names = names.ok_or(RpcError::WorkflowNotFound(id))?;
    let node = match request.node.as_str() {
        "" => None,
        name => {
            let number = (0..).zip(&names).find(|(_, known)| *known == name);
            let none = || RpcError::field("node", format!("{id} has no node {name:?}"));
            Some(number.map(|(number, _)| number).ok_or_else(none)?)
        }
    };
    let after = after.map(|position| position.key);
    let mut items = broker.store.list_workflow_items(id, node, after, limit + 1).await?;
    let is_last = items.len() <= limit as usize;
    items.truncate(limit as usize);
    let next = items
        .last()
        .filter(|_| !is_last)
        .map(|last| PagePosition { key: last.member.place(), ..PagePosition::default() });
    Ok(v1::ListWorkflowItemsResponse {
        items: items.into_iter().map(|item| convert::workflow::item(item, &names)).collect(),
        next_page_token: next.map(|next| page::encode(&next, list)).unwrap_or_default(),
    })
}
