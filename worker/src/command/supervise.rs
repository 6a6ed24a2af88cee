//! One attempt from the start of its shim to the record of its end.

use std::time::Duration;

use asyncflow_sdk::worker::{AttemptHandle, StopNote, StopReason};
use nix::sys::signal::Signal;
use tokio::sync::watch;

use crate::{
    process::Exit,
    shim::{ExitRecord, Order, Shim, Told},
};

/// A disk that took no order may take it later.
const ORDER_PAUSE: Duration = Duration::from_secs(1);
/// The record of its end, for which there is room on a full disk, has it too.
const TEXT_BYTES_MAX: usize = 512;
const LOG_WAIT_MAX: Duration = Duration::from_millis(100);
/// A shim that was told to kill and does not end is ended with all that it has.
const KILL_MAX: Duration = Duration::from_secs(15);

/// How it is told to stop.
#[derive(Clone, Copy, Debug)]
pub struct Stopping {
    /// Asks the program to stop.
    pub signal: Signal,
    /// From the signal to the end.
    pub grace: Duration,
}

/// How it ended, and whether it was told to.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// What its shim has written; `None` when it ended without.
    pub record: Option<ExitRecord>,
    /// Why it was told to stop, if that came before its end.
    pub told: Option<StopReason>,
    /// A GPU had no memory for it.
    pub gpu_out_of_memory: bool,
}

impl End {
    /// Of the program.
    pub fn exit(&self) -> Option<Exit> {
        self.record.as_ref()?.exit
    }
}

/// Waits for the record of its end. If the attempt is told to stop its shim is told: stop file and
/// signal, after the grace KILL; at once, when nothing of it counts any more.
pub async fn to_the_end(
    mut shim: Shim,
    attempt: &AttemptHandle,
    stopping: Stopping,
    mut changes: watch::Receiver<()>,
) -> End {
    let (mut told, mut is_announced) = (None, false);
    let mut pause = Duration::ZERO;
    let record = loop {
        let kills = told >= Some(StopReason::LeaseLost);
        let too_slow = async {
            match kills {
                true => tokio::time::sleep(KILL_MAX).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            record = shim.ended(&mut changes) => break record,
            reason = to_be_told(attempt, told, pause) => {
                let text = text(attempt, reason);
                let ordered = shim.order(&order(reason, &text, stopping));
                if !std::mem::replace(&mut is_announced, true) {
                    say(attempt, &format!("told to stop: {text}")).await;
                }
                let Err(error) = ordered else {
                    (told, pause) = (Some(reason), Duration::ZERO);
                    continue;
                };
                tracing::error!(%error, reason = reason.name(), "a shim cannot be told to stop");
                if reason >= StopReason::LeaseLost {
                    // That takes no file.
                    told = Some(reason);
                    break None;
                }
                pause = ORDER_PAUSE;
            }
            () = too_slow => break None,
        }
    };
    if record.is_none() {
        shim.kill().await;
    }
    let stopped = record.as_ref().and_then(|record| record.told.as_ref());
    let stopped = stopped.and_then(|told| StopReason::named(&told.reason));
    if let Some(reason) = stopped {
        // Its shim has told it, for its time or for a worker before this one. A weaker reason than
        // the present changes nothing.
        attempt.demand_stop(reason, StopNote::default());
    }
    if let Some(record) = record.as_ref().filter(|record| !record.unkillable.is_empty()) {
        tracing::error!(pids = ?record.unkillable, "processes of an ended attempt are left");
        say(attempt, &format!("processes {:?} could not be killed", record.unkillable)).await;
    }
    if let Some(why) = record.as_ref().and_then(|record| record.end_failed.as_ref()) {
        tracing::error!(why, "what an ended attempt left elsewhere may run on");
        say(attempt, &format!("what it left elsewhere may run on: {why}")).await;
    }
    // A shim that was killed with the program had no time to write why.
    let told = if record.is_some() { stopped } else { told };
    let told = told.map(|told| attempt.should_stop().unwrap_or(told));
    End { record, told, gpu_out_of_memory: false }
}

/// Waits for something to tell that is stronger than what was told. Cancel safe.
async fn to_be_told(
    attempt: &AttemptHandle,
    told: Option<StopReason>,
    pause: Duration,
) -> StopReason {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    attempt.stop_signal().raised_over(told).await
}

/// With what was said with the reason, if that is the present one.
fn text(attempt: &AttemptHandle, reason: StopReason) -> String {
    let present = attempt.stop_signal();
    let mut text = present.text();
    if present.reason() != Some(reason) {
        return reason.text().to_owned();
    }
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

fn order(reason: StopReason, text: &str, stopping: Stopping) -> Order {
    let told = Told { reason: reason.name().to_owned(), text: text.to_owned() };
    Order {
        told,
        at_once: reason >= StopReason::LeaseLost,
        grace_ms: u64::try_from(stopping.grace.as_millis()).unwrap_or(u64::MAX),
        signal: stopping.signal as i32,
    }
}

/// The queue is full while no broker can be reached; nothing must wait for it.
pub async fn say(attempt: &AttemptHandle, line: &str) {
    let _ = tokio::time::timeout(LOG_WAIT_MAX, attempt.log_system(line)).await;
}
