//! The shim: one small process per attempt, which outlives the worker.
//!
//! ```text
//!  worker ──▶ shim ──▶ the program, leader of its session, in its control group
//!    │ order.json + SIGUSR1 ▲   │ stdout, stderr
//!    ▼                      │   ▼
//!  attempt's directory ─────┴─ stdout.log…, stderr.log…, shim.json, at last exit.json
//! ```
//!
//! It is the program that the worker is, started again under another name. It owns what must go on
//! while no worker is there: the pipes, the logs with their limit, the time limit, the grace after
//! a stop, the end of the whole tree, and the record of how it ended. All that it and a worker say
//! to each other is in files of the attempt's directory: any worker can go on where another was.
//!
//! It has threads instead of a runtime: two that read pipes, one that waits for children, one that
//! waits for signals, and the main one, which decides.

mod handle;
mod launch;
mod log_writer;
mod order;
mod record;
mod run;
mod usage;
mod watch;

use std::{ffi::OsStr, path::PathBuf, process::ExitCode};

pub use handle::{Shim, ShimProgram};
pub use launch::ShimLaunch;
pub use log_writer::LogWriter;
pub use order::Order;
pub use record::{ExitRecord, ShimRecord, Told, put, ran_for, read_leftover};

/// The hidden first argument.
const VERB: &str = "attempt-shim";

/// Becomes a shim, if this process was started as one: to be called first of all in `main` of every
/// program that embeds a worker, before there are other threads. `None`: go on as what you are.
pub fn enter() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(VERB)) {
        return None;
    }
    let dir = PathBuf::from(args.next()?);
    Some(run::run(&dir))
}
