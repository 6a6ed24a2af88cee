//! One process from its start to the end of its last descendant.

use std::time::Duration;

use asyncflow_sdk::worker::{AttemptHandle, StopReason};
use nix::sys::signal::Signal;

use super::directory::AttemptDir;
use crate::process::{EnvVariable, Exit, Process, kill_tree};

const LOG_WAIT_MAX: Duration = Duration::from_millis(100);

/// How it ended, and whether it was told to.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// `None` when the system would not say.
    pub exit: Option<Exit>,
    /// Why it was told to stop, if that came before its end.
    pub told: Option<StopReason>,
}

/// Waits for the end of the process; if the attempt is told to stop: stop file and TERM to the
/// group, after the grace KILL. At last kills whatever has descended from it and is still there.
pub async fn to_the_end(
    mut process: Process,
    attempt: &AttemptHandle,
    dir: &AttemptDir,
    grace: Duration,
    variable: EnvVariable,
) -> End {
    let leader = process.pid();
    let end = tokio::select! {
        biased;
        exit = process.wait() => End { exit: known(exit), told: None },
        told = attempt.cancelled() => {
            let exit = stop(&mut process, attempt, dir, grace, told, &variable).await;
            End { exit, told: attempt.should_stop().or(Some(told)) }
        }
    };
    if let Err(pids) = kill_tree(Some(leader), variable).await {
        tracing::error!(?pids, "processes of an ended attempt cannot be killed");
        let line = format!("processes {pids:?} could not be killed");
        let _ = tokio::time::timeout(LOG_WAIT_MAX, attempt.log_system(&line)).await;
    }
    end
}

async fn stop(
    process: &mut Process,
    attempt: &AttemptHandle,
    dir: &AttemptDir,
    grace: Duration,
    told: StopReason,
    variable: &EnvVariable,
) -> Option<Exit> {
    dir.ask_to_stop(told.text());
    if told < StopReason::LeaseLost {
        process.signal_group(Signal::SIGTERM);
        let line = format!("told to stop: {}", told.text());
        // The queue is full while no broker can be reached; the stop must not wait for it.
        let _ = tokio::time::timeout(LOG_WAIT_MAX, attempt.log_system(&line)).await;
        tokio::select! {
            biased;
            exit = process.wait() => return known(exit),
            () = tokio::time::sleep(grace) => {}
            _ = attempt.stop_signal().raised(StopReason::LeaseLost) => {}
        }
    }
    process.signal_group(Signal::SIGKILL);
    let killing = kill_tree(Some(process.pid()), variable.clone());
    let (exit, _) = tokio::join!(process.wait(), killing);
    known(exit)
}

fn known(exit: std::io::Result<Exit>) -> Option<Exit> {
    exit.inspect_err(|error| tracing::error!(%error, "cannot wait for a process")).ok()
}
