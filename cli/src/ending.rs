//! How the end of a task becomes the end of a command.

use crate::{
    connection::Broker,
    error::{CliError, exit},
};
use asyncflow_proto::v1::{Attempt, Task, TaskState};

/// What a shell adds to the number of the signal that ended a process.
const SIGNAL_BASE: i32 = 128;

/// The exit code of a task that has ended: 0 when it succeeded, 130 when it was cancelled, else
/// that of its last process, else 1.
pub async fn exit_code(broker: &Broker, task: &Task) -> Result<u8, CliError> {
    match task.state() {
        TaskState::Succeeded => Ok(exit::OK),
        TaskState::Cancelled => Ok(exit::CANCELLED),
        _ => {
            let attempts = broker.client.attempts(&task.id).await;
            let attempts = attempts.map_err(|error| broker.explain(error))?;
            Ok(of_failure(attempts.last()))
        }
    }
}

fn of_failure(last: Option<&Attempt>) -> u8 {
    let code = last.and_then(|attempt| attempt.exit_code).unwrap_or_default();
    let code = if code < 0 { SIGNAL_BASE - code } else { code };
    // A process may end well and its task still fail, e.g. by a result over its limit.
    u8::try_from(code).ok().filter(|code| *code != 0).unwrap_or(exit::ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_passes_the_code_of_its_process() {
        for (code, expected) in
            [(Some(7), 7), (Some(-9), 137), (Some(0), 1), (None, 1), (Some(256), 1)]
        {
            let attempt = Attempt { exit_code: code, ..Attempt::default() };
            assert_eq!(of_failure(Some(&attempt)), expected, "{code:?}");
        }
        assert_eq!(of_failure(None), 1);
    }
}
