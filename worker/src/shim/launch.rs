//! What a shim is told at its start, on its stdin: secrets of the task never come to the disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::process::{EndCommand, Launch, Limits};

/// All that a shim has to know.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShimLaunch {
    /// The program.
    pub launch: Launch,
    /// Which of its variables marks its descendants.
    pub token_variable: String,
    /// `max_running_time`.
    pub time_limit_ms: Option<u64>,
    /// From the stop signal to the end, when the time is over.
    pub grace_ms: u64,
    /// Asks the program to stop.
    pub stop_signal: i32,
    /// Most bytes of one log that are kept.
    pub log_bytes_max: u64,
    /// Where its control group is made.
    pub cgroups: Option<PathBuf>,
    /// What it may use at most.
    pub limits: Limits,
    /// Called when the program has ended, however it did.
    pub end_command: Option<EndCommand>,
}
