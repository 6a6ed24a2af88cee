//! Waiting for an operation, with its progress on a terminal.

use crate::{
    connection::Broker,
    error::{CliError, exit},
    view::operation::OperationView,
};
use asyncflow_proto::v1::{Operation, OperationState};
use asyncflow_sdk::is_over;
use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

/// How often the progress is shown.
const ROUND: Duration = Duration::from_secs(1);

/// Waits until it is over, or `timeout` is (`None` = as long as it takes).
pub async fn follow(
    broker: &Broker,
    id: &str,
    timeout: Option<Duration>,
) -> Result<Operation, CliError> {
    broker.client.operation(id).await.map_err(|error| broker.explain(error))?;
    let broker = broker.patient(crate::remark);
    let is_shown = std::io::stderr().is_terminal();
    // Without a terminal nobody looks at the progress: one wait is enough.
    let mut left = timeout;
    loop {
        let whole = left.unwrap_or(Duration::MAX);
        let round = if is_shown { Some(whole.min(ROUND)) } else { left };
        let waited = broker.client.wait_operation(id, round).await;
        let operation = waited.map_err(|error| broker.explain(error))?;
        left = left.map(|left| left.saturating_sub(ROUND));
        let is_last = is_over(operation.state()) || !is_shown || left == Some(Duration::ZERO);
        if is_shown {
            show(&operation, is_last);
        }
        if is_last {
            return Ok(operation);
        }
    }
}

/// Writes over the line before; that nobody reads it is fine.
fn show(operation: &Operation, is_last: bool) {
    let end = if is_last { "\n" } else { "" };
    let progress = OperationView::from(operation.clone()).progress();
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "\r{progress}\u{1b}[K{end}").and_then(|()| stderr.flush());
}

/// The exit code that tells how it ended.
pub fn ending(operation: &Operation) -> u8 {
    match operation.state() {
        OperationState::Succeeded => exit::OK,
        OperationState::Cancelled => exit::CANCELLED,
        OperationState::Running | OperationState::Failed | OperationState::Unspecified => {
            exit::ERROR
        }
    }
}
