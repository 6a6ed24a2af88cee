//! WaitTask: answers when the task is terminal or the time is over.

use asyncflow_core::{
    id::TaskId,
    limits::WAIT_MS_DEFAULT,
    validate::{at::At, list, text},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::{ChangeRow, Parts};
use tokio::sync::broadcast::error::RecvError;

use super::get;
use crate::{
    broker::Broker,
    clock,
    convert::{self, time},
    error::RpcError,
};

pub async fn wait_task(
    broker: &Broker,
    request: v1::WaitTaskRequest,
) -> Result<v1::WaitTaskResponse, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    let id = text::task_id(&request.task_id, at.field("task_id"), &mut violations);
    let timeout = at.field("timeout");
    let asked_ms = time::duration_ms(request.timeout.as_ref(), timeout, &mut violations);
    let wait_ms = list::wait_ms(asked_ms, WAIT_MS_DEFAULT, timeout, &mut violations);
    let id = violations.ok_or(id)?;

    let over = tokio::time::sleep_until(clock::in_ms(wait_ms));
    tokio::pin!(over);
    let mut feed = broker.feed.subscribe().await?;
    loop {
        let full = get(broker, &id, Parts::ALL).await?;
        let done = full.task.state.is_terminal();
        let is_over = over.is_elapsed() || broker.draining.is_cancelled();
        if done || is_over {
            return Ok(v1::WaitTaskResponse { task: Some(convert::task::full(full)), done });
        }
        loop {
            tokio::select! {
                () = &mut over => break,
                () = broker.draining.cancelled() => break,
                row = feed.rows.recv() => match row {
                    Ok(row) if !ends(&row, &id) => {}
                    // Having missed some it looks, as it does when its task has ended.
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Err(RpcError::ShuttingDown),
                },
            }
        }
    }
}

/// Whether the task became terminal or was deleted.
fn ends(row: &ChangeRow, id: &TaskId) -> bool {
    let own = row.changes.iter().filter(|change| change.task_id == *id);
    own.into_iter().any(|change| change.to.is_none_or(|state| state.is_terminal()))
}
