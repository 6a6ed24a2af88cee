//! The worker of a host: takes tasks from brokers and runs their commands as processes.
//!
//! | module | answers |
//! |---|---|
//! | [`config`] | which settings are in force |
//! | [`run`](mod@run) | what lives from start to end of the program, and in which order it ends |
//! | `command` | how a task with a command runs |
//! | `python` | which Python tasks there are, and by which command they run |
//! | `process` | how processes start and how whole trees of them end; the only unsafe code |
//! | `gpu` | which GPUs there are, how they are, who is on them |
//! | `host` | who has what of the machine, what may be given away, what goes wrong |
//! | `shim` | what goes on while no worker is there: logs, time limit, stop, record of the end |
//! | `adoption` | what the next worker process needs in order to go on |
//! | `events`, `log_tail`, `log_files`, `growing_file`, `file_watch` | how a task's words get out |
//! | `attempt_service` | how a task calls its worker |
//! | `journal`, `data_dir`, `clean` | what is on disk |
//!
//! Leases, heartbeats and the rest of the talk with brokers are the runtime of `asyncflow-sdk`.

mod adoption;
mod attempt_service;
mod clean;
mod clock;
mod command;
pub mod config;
mod data_dir;
mod events;
mod execute;
mod file_watch;
mod gpu;
mod growing_file;
mod host;
mod journal;
mod log_files;
mod log_tail;
mod process;
mod python;
pub mod run;
mod shim;
mod status;
#[cfg(feature = "testing")]
pub mod testing;

pub use asyncflow_sdk::worker::Handlers;
pub use config::{Args, WorkerConfig};
pub use data_dir::DataDirError;
pub use execute::execute;
pub use gpu::{GpuConfig, ProviderChoice, VisibleAs};
pub use python::{ListError, PythonConfig};
pub use run::{Ends, WorkerError, run, run_until, run_with};
pub use shim::enter;
