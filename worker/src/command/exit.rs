//! What an exit code means.

use asyncflow_sdk::{
    v1::{Content, FailureReason, WaitFor},
    worker::{Outcome, StopReason},
};

use super::supervise::End;
use crate::{
    events::FailureNote,
    process::{Exit, SpawnError},
};

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
    if let Some(error) = end.record.as_ref().and_then(|record| record.not_started.as_ref()) {
        return not_runnable(error);
    }
    let code = end.exit().map(Exit::code);
    if let Some(told) = end.told {
        return stopped(told, code).with_exit_code(code);
    }
    let outcome = match end.exit() {
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
        Some(exit) if end.record.as_ref().is_some_and(|record| record.out_of_memory) => {
            let message = format!("{}: the host had no memory for it", words(exit));
            Outcome::failed(FailureReason::OutOfMemory, message)
        }
        Some(exit) if end.gpu_out_of_memory => {
            let message = format!("{}: a GPU had no memory for it", words(exit));
            Outcome::failed(FailureReason::GpuOutOfMemory, message)
        }
        Some(Exit::Code(code @ (64 | 65 | 78))) => {
            Outcome::failed_for_good(FailureReason::Permanent, format!("exit code {code}"))
        }
        Some(Exit::Code(code @ (126 | 127))) => {
            Outcome::failed_for_good(FailureReason::CommandNotRunnable, format!("exit code {code}"))
        }
        Some(exit @ Exit::Code(_)) => Outcome::failed(FailureReason::Error, words(exit)),
        Some(exit @ Exit::Signal(_)) => Outcome::failed(FailureReason::Killed, words(exit)),
        None if end.record.is_none() => {
            Outcome::failed(FailureReason::Killed, "the process that watched over it was killed")
        }
        None => Outcome::failed(FailureReason::Error, "the system did not say how it ended"),
    };
    outcome.with_exit_code(code)
}

/// A failure of the program's own, in its own words. What others say of its end is left alone.
pub fn explained(outcome: Outcome, note: Option<FailureNote>) -> Outcome {
    use FailureReason::{Error, Permanent, RetryLater};
    match (outcome, note) {
        (
            Outcome::Failed {
                reason: reason @ (Error | Permanent | RetryLater),
                message,
                permanent,
                exit_code,
                ..
            },
            Some(note),
        ) => {
            let message = if note.message.is_empty() { message } else { note.message };
            let explained = match permanent {
                true => Outcome::failed_for_good(reason, message),
                false => Outcome::failed(reason, message),
            };
            explained.not_before(note.retry_after).with_exit_code(exit_code)
        }
        (outcome, _) => outcome,
    }
}

/// Who was told to stop, saved what it had and says so goes on from there.
fn stopped(told: StopReason, code: Option<i32>) -> Outcome {
    // Who holds GPUs for work by hand is done when nobody works.
    if told == StopReason::GpuIdle && code == Some(0) {
        return Outcome::Succeeded { result: None, exit_code: None };
    }
    match Outcome::stopped(told) {
        Outcome::Released { message, .. } if code == Some(CHECKPOINTED) => {
            Outcome::released(FailureReason::Checkpointed, message)
        }
        other => other,
    }
}

fn words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("killed by signal {signal}"),
    }
}

/// Whether the last words of a program tell that a GPU had no memory for it.
pub fn tells_of_gpu_memory(log: &[u8], patterns: &[String]) -> bool {
    let text = String::from_utf8_lossy(log);
    patterns.iter().any(|pattern| text.contains(pattern.as_str()))
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
    use crate::shim::ExitRecord;

    fn ended(exit: Exit) -> End {
        let record = Some(ExitRecord { exit: Some(exit), ..ExitRecord::default() });
        End { record, ..End::default() }
    }

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
            let outcome = outcome(ended(exit), None, None);
            assert_eq!(reason_of(&outcome), expected, "{exit:?}");
        }
    }

    #[test]
    fn a_failure_is_told_in_the_words_of_the_program() {
        let said = |code, message: &str, wait| {
            let retry_after = wait;
            let note = Some(FailureNote { message: message.to_owned(), retry_after });
            explained(outcome(ended(Exit::Code(code)), None, None), note)
        };
        let wait = Some(std::time::Duration::from_secs(5));
        for (code, message, expected) in
            [(75, "busy", "busy"), (1, "ValueError: x", "ValueError: x"), (65, "", "exit code 65")]
        {
            let Outcome::Failed { message: found, retry_after, exit_code, .. } =
                said(code, message, wait)
            else {
                panic!("it has failed");
            };
            assert_eq!((&*found, retry_after, exit_code), (expected, wait, Some(code)));
        }
        assert!(matches!(said(0, "no", None), Outcome::Succeeded { .. }));
        assert!(matches!(said(85, "no", None), Outcome::Released { .. }));
        let told = End { told: Some(StopReason::Cancelled), ..ended(Exit::Code(1)) };
        let note = Some(FailureNote { message: "no".to_owned(), retry_after: None });
        let cancelled = explained(outcome(told, None, None), note);
        assert_eq!(reason_of(&cancelled), Some((FailureReason::Cancelled, false)));
        assert!(!matches!(cancelled, Outcome::Failed { message, .. } if message == "no"));
    }

    #[test]
    fn who_asks_to_be_run_again_may_wait_for_something() {
        let wait_for = || Some(Ok(WaitFor { children: true, ..WaitFor::default() }));
        let end = |code| ended(Exit::Code(code));
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
            let end = End { told: Some(reason), ..ended(Exit::Code(0)) };
            reason_of(&outcome(end, None, None))
        };
        assert_eq!(told(StopReason::Cancelled), Some((FailureReason::Cancelled, false)));
        assert_eq!(told(StopReason::TimedOut), Some((FailureReason::TimedOut, false)));
        assert_eq!(told(StopReason::Drained), Some((FailureReason::Drained, false)));
        assert_eq!(told(StopReason::LeaseLost), None);
        assert_eq!(told(StopReason::GpuIdle), None, "it has succeeded");
    }

    #[test]
    fn who_saved_when_told_to_stop_goes_on_from_there() {
        let told = |reason| {
            let end = End { told: Some(reason), ..ended(Exit::Code(85)) };
            reason_of(&outcome(end, None, None))
        };
        for reason in [StopReason::Drained, StopReason::Preempted, StopReason::HandedOver] {
            assert_eq!(told(reason), Some((FailureReason::Checkpointed, false)), "{reason:?}");
        }
        assert_eq!(told(StopReason::Cancelled), Some((FailureReason::Cancelled, false)));
        assert_eq!(told(StopReason::TimedOut), Some((FailureReason::TimedOut, false)));
    }

    #[test]
    fn no_memory_is_told_apart_from_other_failures() {
        let of = |exit, out_of_memory, gpu_out_of_memory| {
            let record = ExitRecord { exit: Some(exit), out_of_memory, ..ExitRecord::default() };
            let end = End { record: Some(record), gpu_out_of_memory, ..End::default() };
            reason_of(&outcome(end, None, None)).map(|(reason, _)| reason)
        };
        assert_eq!(of(Exit::Signal(9), true, false), Some(FailureReason::OutOfMemory));
        assert_eq!(of(Exit::Code(1), true, true), Some(FailureReason::OutOfMemory));
        assert_eq!(of(Exit::Code(1), false, true), Some(FailureReason::GpuOutOfMemory));
        assert_eq!(of(Exit::Code(0), true, true), None, "it has got over it");
        let patterns = ["CUDA out of memory".to_owned()];
        assert!(tells_of_gpu_memory(b"\xfftorch: CUDA out of memory. Tried", &patterns));
        assert!(!tells_of_gpu_memory(b"out of memory", &patterns));
    }

    #[test]
    fn a_shim_that_was_killed_is_told_as_such() {
        let outcome = outcome(End::default(), None, None);
        assert_eq!(reason_of(&outcome), Some((FailureReason::Killed, false)));
    }
}
