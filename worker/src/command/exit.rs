//! What an exit code means.

use asyncflow_sdk::{
    v1::{Content, FailureReason, WaitFor},
    worker::{Outcome, StopReason},
};

use super::supervise::End;
use crate::process::{Exit, SpawnError};

const RETRY_LATER: i32 = 75;
const CHECKPOINTED: i32 = 85;

/// The outcome of a process that was started.
///
/// One that was told to stop counts as stopped whatever its code: many programs leave with 0 after
/// SIGTERM. Only if it ended before it was told has it won the race.
pub fn outcome(
    end: End,
    result: Option<Content>,
    wait_for: Option<Result<WaitFor, String>>,
) -> Outcome {
    let code = end.exit.map(Exit::code);
    if let Some(told) = end.told
        // Who holds GPUs for work by hand is done when nobody works.
        && !(told == StopReason::GpuIdle && end.exit == Some(Exit::Code(0)))
    {
        return Outcome::stopped(told).with_exit_code(code);
    }
    let outcome = match end.exit {
        Some(Exit::Code(0)) => Outcome::Succeeded { result, exit_code: None },
        Some(Exit::Code(CHECKPOINTED)) => match wait_for {
            Some(Ok(wait_for)) => Outcome::Waiting { wait_for, or_fail: None, exit_code: None },
            Some(Err(problem)) => Outcome::failed_for_good(
                FailureReason::Permanent,
                format!("exit code 85, but what it waits for cannot be understood: {problem}"),
            ),
            None => Outcome::released(
                FailureReason::Checkpointed,
                "it asked to be run again (exit code 85)",
            ),
        },
        Some(Exit::Code(RETRY_LATER)) => Outcome::failed(
            FailureReason::RetryLater,
            "it asked to be retried later (exit code 75)",
        ),
        Some(Exit::Code(code @ (64 | 65 | 78))) => {
            Outcome::failed_for_good(FailureReason::Permanent, format!("exit code {code}"))
        }
        Some(Exit::Code(code @ (126 | 127))) => {
            Outcome::failed_for_good(FailureReason::CommandNotRunnable, format!("exit code {code}"))
        }
        Some(Exit::Code(code)) => {
            Outcome::failed(FailureReason::Error, format!("exit code {code}"))
        }
        Some(Exit::Signal(signal)) => {
            Outcome::failed(FailureReason::Killed, format!("killed by signal {signal}"))
        }
        None => Outcome::failed(FailureReason::Error, "the system did not say how it ended"),
    };
    outcome.with_exit_code(code)
}

/// The outcome of a process that could not be started.
pub fn not_runnable(error: &SpawnError) -> Outcome {
    let outcome = if error.is_permanent {
        Outcome::failed_for_good(FailureReason::CommandNotRunnable, error.message.clone())
    } else {
        Outcome::failed(FailureReason::Error, error.message.clone())
    };
    outcome.with_exit_code(Some(error.exit_code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason_of(outcome: &Outcome) -> Option<(FailureReason, bool)> {
        match outcome {
            Outcome::Failed { reason, permanent, .. } => Some((*reason, *permanent)),
            Outcome::Released { reason, .. } => Some((*reason, false)),
            Outcome::Waiting { .. } => Some((FailureReason::Waiting, false)),
            Outcome::Succeeded { .. } | Outcome::Abandoned => None,
        }
    }

    #[test]
    fn every_code_has_its_meaning() {
        let table = [
            (Exit::Code(0), None),
            (Exit::Code(1), Some((FailureReason::Error, false))),
            (Exit::Code(64), Some((FailureReason::Permanent, true))),
            (Exit::Code(65), Some((FailureReason::Permanent, true))),
            (Exit::Code(75), Some((FailureReason::RetryLater, false))),
            (Exit::Code(78), Some((FailureReason::Permanent, true))),
            (Exit::Code(85), Some((FailureReason::Checkpointed, false))),
            (Exit::Code(126), Some((FailureReason::CommandNotRunnable, true))),
            (Exit::Code(127), Some((FailureReason::CommandNotRunnable, true))),
            (Exit::Code(255), Some((FailureReason::Error, false))),
            (Exit::Signal(9), Some((FailureReason::Killed, false))),
        ];
        for (exit, expected) in table {
            let outcome = outcome(End { exit: Some(exit), told: None }, None, None);
            assert_eq!(reason_of(&outcome), expected, "{exit:?}");
        }
    }

    #[test]
    fn who_asks_to_be_run_again_may_wait_for_something() {
        let wait_for = || Some(Ok(WaitFor { children: true, ..WaitFor::default() }));
        let end = |code| End { exit: Some(Exit::Code(code)), told: None };
        let waiting = reason_of(&outcome(end(85), None, wait_for()));
        assert_eq!(waiting, Some((FailureReason::Waiting, false)));
        assert_eq!(reason_of(&outcome(end(0), None, wait_for())), None, "it is done");
        let bad = || Some(Err("it needs signals".to_owned()));
        let refused = reason_of(&outcome(end(85), None, bad()));
        assert_eq!(refused, Some((FailureReason::Permanent, true)));
        assert_eq!(reason_of(&outcome(end(0), None, bad())), None, "it is done all the same");
    }

    #[test]
    fn who_was_told_to_stop_has_stopped_whatever_its_code() {
        let told = |reason| {
            let end = End { exit: Some(Exit::Code(0)), told: Some(reason) };
            reason_of(&outcome(end, None, None))
        };
        assert_eq!(told(StopReason::Cancelled), Some((FailureReason::Cancelled, false)));
        assert_eq!(told(StopReason::TimedOut), Some((FailureReason::TimedOut, false)));
        assert_eq!(told(StopReason::Drained), Some((FailureReason::Drained, false)));
        assert_eq!(told(StopReason::LeaseLost), None);
        assert_eq!(told(StopReason::GpuIdle), None, "it has succeeded");
    }
}
