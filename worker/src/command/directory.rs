//! An attempt's directory, and the environment that tells the program where everything is.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use asyncflow_sdk::{
    v1::{Lease, Task},
    worker::AttemptHandle,
};
use serde_json::Value;

use crate::{attempt_service::Registered, events::EVENTS_FILE};

/// Carries the worker's mark in the environment of all its tasks.
pub const MARK_VARIABLE: &str = "ASYNCFLOW_WORKER_MARK";
/// Carries the attempt's token.
pub const TOKEN_VARIABLE: &str = "ASYNCFLOW_ATTEMPT_TOKEN";

/// The directory of one attempt.
#[derive(Clone, Debug)]
pub struct AttemptDir {
    path: PathBuf,
    mark: String,
}

impl AttemptDir {
    /// Makes it with all that the program may read.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn make(attempts: &Path, attempt: &AttemptHandle, mark: &str) -> io::Result<Self> {
        let task = attempt.task();
        let dir = Self::of(attempts, &attempt.lease(), mark);
        if let Err(error) = fs::remove_dir_all(&dir.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        // Not what is above: where a data directory was taken away, nothing is to be run.
        for path in [dir.path.clone(), dir.work_dir()] {
            DirBuilder::new().mode(0o700).create(path)?;
        }
        let context = task.context.as_ref().map(|context| &context.data[..]);
        dir.put("context", context.unwrap_or_default())?;
        let payload = task.payload.as_ref().map(|payload| &payload.data[..]);
        dir.put("payload", payload.unwrap_or_default())?;
        dir.put("signals", &signals(task))?;
        dir.put(EVENTS_FILE, b"")?;
        Ok(dir)
    }

    /// The one of this attempt, which may not be there.
    pub fn of(attempts: &Path, lease: &Lease, mark: &str) -> Self {
        let name = format!("{}.{}", plain(&lease.task_id), lease.attempt);
        Self { path: attempts.join(name), mark: mark.to_owned() }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(self.path.join(name))?.write_all(bytes)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the program starts unless its command says otherwise.
    pub fn work_dir(&self) -> PathBuf {
        self.path.join("work")
    }

    /// The file to which the program appends events.
    pub fn events(&self) -> PathBuf {
        self.path.join(EVENTS_FILE)
    }

    /// The program's whole environment: what is allowed of the worker's, the task's, ours.
    pub fn environment(
        &self,
        attempt: &AttemptHandle,
        allowed: &[String],
        own: &BTreeMap<String, String>,
        registered: &Registered,
    ) -> BTreeMap<String, String> {
        let task = attempt.task();
        let path = |name: &str| self.path.join(name).to_string_lossy().into_owned();
        let ours = [
            ("ASYNCFLOW_TASK_ID", task.id.clone()),
            ("ASYNCFLOW_TASK_TYPE", task.task_type.clone()),
            ("ASYNCFLOW_ATTEMPT", attempt.lease().attempt.to_string()),
            ("ASYNCFLOW_STAGE", task.stage.clone()),
            ("ASYNCFLOW_CONTEXT", path("context")),
            ("ASYNCFLOW_CONTEXT_VERSION", task.context_version.to_string()),
            ("ASYNCFLOW_PAYLOAD", path("payload")),
            ("ASYNCFLOW_SIGNALS", path("signals")),
            ("ASYNCFLOW_EVENTS", path(EVENTS_FILE)),
            ("ASYNCFLOW_STOP", path("stop")),
            ("ASYNCFLOW_WORK_DIR", path("work")),
            ("ASYNCFLOW_SOCKET", registered.socket().to_string_lossy().into_owned()),
            (TOKEN_VARIABLE, registered.token().to_owned()),
            (MARK_VARIABLE, self.mark.clone()),
        ];
        // A task may set another one; the worker's own has nothing to do with it.
        let trace = ("TRACEPARENT".to_owned(), attempt.traceparent().to_owned());
        let ours = ours.into_iter().map(|(name, value)| (name.to_owned(), value));
        inherited(allowed).into_iter().chain([trace]).chain(own.clone()).chain(ours).collect()
    }
}

/// What is allowed of this process's environment.
pub fn inherited(allowed: &[String]) -> BTreeMap<String, String> {
    let variable =
        |name: &String| Some((name.clone(), std::env::var_os(name)?.into_string().ok()?));
    allowed.iter().filter_map(variable).collect()
}

/// The signals that have come, as a JSON object: what is JSON as it is, else as a text.
fn signals(task: &Task) -> Vec<u8> {
    let value = |data: &[u8]| {
        let text = || Value::String(String::from_utf8_lossy(data).into_owned());
        serde_json::from_slice(data).unwrap_or_else(|_| text())
    };
    let signals = task.signals.iter().map(|(name, content)| (name.clone(), value(&content.data)));
    Value::Object(signals.collect()).to_string().into_bytes()
}

/// Ids are made of [a-z0-9_-] by the broker; anything else must not become part of a path.
fn plain(id: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    id.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}
