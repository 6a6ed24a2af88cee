//! ListTasks: by key, page by page, newest first.

use asyncflow_core::{
    access::Principal, digest, filter, page, validate::list, violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::Parts;

use crate::{broker::Broker, convert, error::RpcError, principal::own};

pub async fn list_tasks(
    broker: &Broker,
    caller: &Principal,
    request: v1::ListTasksRequest,
) -> Result<v1::ListTasksResponse, RpcError> {
    let mut violations = Violations::new();
    let page_size = list::page_size(request.page_size, &mut violations);
    let mut filter = match filter::parse(&request.filter) {
        Ok(filter) => filter,
        Err(violation) => {
            violations.add(violation.field, violation.description);
            return Err(violations.into());
        }
    };
    if let Some(user) = own(caller, request.own) {
        if filter.user.as_ref().is_some_and(|other| other != user) {
            return Ok(v1::ListTasksResponse::default());
        }
        filter.user = Some(user.to_owned());
    }
    let list = digest::list("ListTasks", "", &filter);
    let after = page::check(&request.page_token, list, &mut violations);
    violations.none()?;

    let basic = v1::TaskView::Basic;
    let is_full = convert::task::view(request.view, basic) == v1::TaskView::Full;
    let parts = if is_full { Parts::ALL } else { Parts::LABELS };
    let page = broker.store.list(&filter, after.as_ref(), page_size.unsigned_abs(), parts).await?;
    let show = |full| convert::task::in_view(full, request.view, basic);
    Ok(v1::ListTasksResponse {
        tasks: page.tasks.into_iter().map(show).collect(),
        next_page_token: page.next.map(|next| page::encode(&next, list)).unwrap_or_default(),
    })
}
