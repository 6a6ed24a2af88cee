//! ListAttempts: the ended ones from the history, and the one that runs from the task itself.

use asyncflow_core::{
    digest,
    filter::Filter,
    page::{self, PagePosition},
    validate::{at::At, list, text},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::Parts;

use super::{get, missing};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn list_attempts(
    broker: &Broker,
    request: v1::ListAttemptsRequest,
) -> Result<v1::ListAttemptsResponse, RpcError> {
    let mut violations = Violations::new();
    let id = text::task_id(&request.task_id, At::REQUEST.field("task_id"), &mut violations);
    let limit = list::page_size(request.page_size, &mut violations).unsigned_abs();
    let list = digest::list("ListAttempts", &request.task_id, &Filter::default());
    let after = page::check(&request.page_token, list, &mut violations);
    let id = violations.ok_or(id)?;
    let after = after.and_then(|position| i32::try_from(position.key).ok()).unwrap_or(0);

    // The task is read first: an attempt that ends in between is then at least in one of the two.
    let task = get(broker, &id, Parts::NONE).await?.task;
    let ended = broker.store.list_attempts(&id, after, limit + 1).await;
    let ended = ended.map_err(|error| missing(&id, error))?;
    let last_ended = ended.last().map(|attempt| attempt.attempt);
    let mut attempts: Vec<v1::Attempt> =
        ended.into_iter().map(|attempt| convert::attempt::to_proto(&id, attempt)).collect();
    if last_ended != Some(task.attempt) && task.attempt > after {
        attempts.extend(convert::attempt::running(&task));
    }
    let limit = limit as usize;
    let is_last = attempts.len() <= limit;
    attempts.truncate(limit);
    let next = attempts
        .last()
        .filter(|_| !is_last)
        .map(|last| PagePosition { key: last.attempt.into(), ..PagePosition::default() });
    Ok(v1::ListAttemptsResponse {
        attempts,
        next_page_token: next.map(|next| page::encode(&next, list)).unwrap_or_default(),
    })
}
