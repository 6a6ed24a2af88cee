//! ListSchedules: newest first, page by page.

use asyncflow_core::{
    digest,
    filter::Filter,
    id::ScheduleId,
    page::{self, PagePosition},
    validate::list,
    violation::Violations,
};
use asyncflow_proto::v1;

use crate::{broker::Broker, convert, error::RpcError};

pub async fn list_schedules(
    broker: &Broker,
    request: v1::ListSchedulesRequest,
) -> Result<v1::ListSchedulesResponse, RpcError> {
    let mut violations = Violations::new();
    let limit = list::page_size(request.page_size, &mut violations).unsigned_abs();
    let list = digest::list("ListSchedules", &request.user, &Filter::default());
    let before = page::check(&request.page_token, list, &mut violations);
    violations.none()?;

    let user = Some(request.user.as_str()).filter(|user| !user.is_empty());
    let before = before.map(|position| ScheduleId(position.key));
    let mut schedules = broker.store.list_schedules(user, before, limit + 1).await?;
    let is_last = schedules.len() <= limit as usize;
    schedules.truncate(limit as usize);
    let next = schedules
        .last()
        .filter(|_| !is_last)
        .map(|last| PagePosition { key: last.id.0, ..PagePosition::default() });
    Ok(v1::ListSchedulesResponse {
        schedules: schedules.into_iter().map(convert::schedule::to_proto).collect(),
        next_page_token: next.map(|next| page::encode(&next, list)).unwrap_or_default(),
    })
}
