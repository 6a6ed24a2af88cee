//! WaitOperation: answers when the operation is over or the time is.

use std::time::Duration;

use asyncflow_core::{
    limits::WAIT_MS_DEFAULT,
    validate::{at::At, list, text},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::wake::OPERATIONS;

use super::get;
use crate::{
    broker::Broker,
    clock,
    convert::{self, time},
    error::RpcError,
};

/// How often it looks when nobody rings: where the rings of another broker, which may carry it out,
/// reach this one, and where they do not.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
const LOOK_INTERVAL_ALONE: Duration = Duration::from_secs(1);

pub async fn wait_operation(
    broker: &Broker,
    request: v1::WaitOperationRequest,
) -> Result<v1::WaitOperationResponse, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    let id = text::operation_id(&request.operation_id, at.field("operation_id"), &mut violations);
    let timeout = at.field("timeout");
    let asked_ms = time::duration_ms(request.timeout.as_ref(), timeout, &mut violations);
    let wait_ms = list::wait_ms(asked_ms, WAIT_MS_DEFAULT, timeout, &mut violations);
    let id = violations.ok_or(id)?;

    let over = tokio::time::sleep_until(clock::in_ms(wait_ms));
    tokio::pin!(over);
    let mut rung = broker.store.wake().subscribe(OPERATIONS);
    loop {
        let operation = get(broker, id).await?;
        let done = operation.state.is_over();
        if done || over.is_elapsed() || broker.draining.is_cancelled() {
            let operation = Some(convert::operation::to_proto(operation));
            return Ok(v1::WaitOperationResponse { operation, done });
        }
        let interval = match broker.store.wake().is_connected() {
            Some(true) => LOOK_INTERVAL,
            Some(false) | None => LOOK_INTERVAL_ALONE,
        };
        tokio::select! {
            () = &mut over => {}
            () = broker.draining.cancelled() => {}
            () = rung.rung() => {}
            () = tokio::time::sleep(interval) => {}
        }
    }
}
