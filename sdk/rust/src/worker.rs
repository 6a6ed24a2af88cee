//! The runtime of a worker: everything between a broker and the code that works on tasks.
//!
//! ```text
//!              ┌── register ◀── UNKNOWN_SESSION ──┐
//!              ▼                                  │
//!  acquire ─▶ held ─▶ start ─▶ execute ─▶ journal ─▶ settle ─▶ finish
//!   (free     │ ▲               │  │                 (until the broker answers)
//!    slots)   │ └ verdicts ◀────┘  └ context, progress, logs
//!             └ heartbeat (all leases in one call), pushed commands
//! ```
//!
//! A worker holds a lease from the answer of AcquireTasks until the broker has confirmed how the
//! attempt ended. The broker's fence decides about every write; what is kept here is only a hint.

mod acquire;
mod advance;
mod attempt;
mod children;
mod context_version;
mod executor;
mod function;
mod hand_over;
mod handler;
mod heartbeat;
mod held;
mod host;
mod journal;
mod link;
mod logs;
mod outcome;
mod progress;
mod runtime;
mod session;
mod settle;
mod stop;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

pub use attempt::AttemptHandle;
pub use executor::{EVERY_TYPE, Executor, Handlers};
pub use hand_over::HandOver;
pub use handler::{Handler, HandlerError};
pub use host::HostSide;
pub use journal::{MemoryJournal, ResultJournal, SettleCall};
pub use logs::LogKeeper;
pub use outcome::{CONTEXT_BYTES_MAX, Outcome, RESULT_BYTES_MAX};
pub use stop::{StopNote, StopReason, StopSignal};

use crate::{ChannelOptions, Error, v1::Content};

/// How a worker presents itself and behaves.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Brokers; when one cannot be reached the next is asked.
    pub brokers: Vec<ChannelOptions>,
    /// Names the worker across restarts; 1 to 64 bytes `[A-Za-z0-9._-]`.
    pub worker_id: String,
    /// The host's name: the twin of a slow task goes to another one. Empty: the worker is taken for
    /// a host of its own.
    pub host: String,
    /// At most 32.
    pub labels: BTreeMap<String, String>,
    /// What it runs; `*` = every type. Empty = the types that have a handler, and commands of all
    /// types if it can run commands.
    pub task_types: Vec<String>,
    /// It also takes commands of types that it does not name.
    pub takes_commands: bool,
    /// How many tasks it runs at once, 1 to 10,000.
    pub slots: usize,
    /// The program's version.
    pub version: String,
    /// On shutdown, how long tasks may go on before they are asked to end.
    pub drain_timeout: Duration,
    /// How long one AcquireTasks waits at the broker, up to 60 s.
    pub acquire_wait: Duration,
    /// Least time between two reports of progress.
    pub progress_interval: Duration,
    /// What it takes counts as started only when it says so, with a call of its own, and goes back
    /// soon when it does not: for executors that look first whether they can run a task.
    pub starts_later: bool,
}

impl WorkerOptions {
    /// A worker with one slot.
    pub fn new(brokers: Vec<ChannelOptions>, worker_id: impl Into<String>) -> Self {
        Self {
            brokers,
            worker_id: worker_id.into(),
            host: String::new(),
            labels: BTreeMap::new(),
            task_types: Vec::new(),
            takes_commands: false,
            slots: 1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            drain_timeout: Duration::from_secs(30),
            acquire_wait: Duration::from_secs(30),
            progress_interval: Duration::from_millis(500),
            starts_later: false,
        }
    }
}

/// Puts a worker together.
pub struct WorkerBuilder {
    options: WorkerOptions,
    handlers: Handlers,
    journal: Arc<dyn ResultJournal>,
    host: Option<Arc<dyn HostSide>>,
    detach: CancellationToken,
}

impl WorkerBuilder {
    /// A worker that can run nothing yet and keeps its outcomes in memory.
    pub fn new(options: WorkerOptions) -> Self {
        let journal = Arc::new(MemoryJournal::default());
        let detach = CancellationToken::new();
        Self { options, handlers: Handlers::new(), journal, host: None, detach }
    }

    /// Runs tasks of this type by `handler`.
    #[must_use]
    pub fn handler<H: Handler>(mut self, task_type: impl Into<String>, handler: H) -> Self {
        self.handlers = self.handlers.handler(task_type, handler);
        self
    }

    /// Runs tasks of this type by a function: `None` is no result. For what takes long a
    /// [`Handler`] is the better form.
    #[must_use]
    pub fn function<F, W>(self, task_type: impl Into<String>, function: F) -> Self
    where
        F: Fn(AttemptHandle) -> W + Send + Sync + 'static,
        W: Future<Output = Result<Option<Content>, HandlerError>> + Send + 'static,
    {
        self.handler(task_type, function::FunctionHandler(function))
    }

    /// Replaces all handlers.
    #[must_use]
    pub fn handlers(mut self, handlers: Handlers) -> Self {
        self.handlers = handlers;
        self
    }

    /// Keeps outcomes in this journal.
    #[must_use]
    pub fn journal(mut self, journal: Arc<dyn ResultJournal>) -> Self {
        self.journal = journal;
        self
    }

    /// Offers what this machine has, reports how it is, and follows what is wanted of it.
    #[must_use]
    pub fn host(mut self, host: Arc<dyn HostSide>) -> Self {
        self.host = Some(host);
        self
    }

    /// When it is cancelled the worker ends at once, without a word to tasks or brokers: for
    /// executors whose attempts go on and are adopted by the next process.
    #[must_use]
    pub fn detach(mut self, detach: CancellationToken) -> Self {
        self.detach = detach;
        self
    }

    /// Works until `drain` is cancelled: takes nothing new, lets tasks end for `drain_timeout`,
    /// asks the others to end, deregisters. When `abort` is cancelled they get no more time. It
    /// also ends by order of a broker: drained, when what runs has ended; detached, at once.
    ///
    /// Errors: bad options; the broker refuses this worker. An unreachable broker is no error: the
    /// worker tries until there is one. Not cancel safe: running tasks would be dropped.
    pub async fn run(
        mut self,
        drain: CancellationToken,
        abort: CancellationToken,
    ) -> Result<(), Error> {
        if self.options.task_types.is_empty() {
            self.options.task_types = self.handlers.task_types();
            self.options.takes_commands |= self.handlers.take_commands();
        }
        let Self { options, handlers, journal, host, detach } = self;
        runtime::Runtime::new(options, handlers, journal, host, detach)?.run(drain, abort).await
    }
}
