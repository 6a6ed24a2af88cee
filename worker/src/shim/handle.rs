//! A worker's side of a shim.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Child,
    sync::watch,
};

use super::{
    VERB,
    launch::ShimLaunch,
    order::Order,
    record::{ExitRecord, ShimRecord, read_leftover},
};
use crate::process::{EnvVariable, kill_leftovers, start_detached};

/// The safety net, where inotify does not reach and for a shim that died.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const HELLO_MAX: Duration = Duration::from_secs(30);
const HELLO_BYTES_MAX: u64 = 4_096;

/// How shims are started.
#[derive(Clone, Debug)]
pub struct ShimProgram {
    /// A program that calls [`super::enter`].
    pub path: PathBuf,
    /// A variable that all shims of this worker carry.
    pub mark: (&'static str, String),
}

/// A shim that runs, or ran, in an attempt's directory.
pub struct Shim {
    dir: PathBuf,
    /// If this process started it, it has to reap it.
    child: Option<Child>,
    /// Marks all that belongs to the attempt.
    variable: EnvVariable,
}

impl Shim {
    /// Starts one from this program, and waits until it hears orders. Dropping it ends nothing.
    ///
    /// # Errors
    /// It does not come up. That the task's program cannot be started is told by its exit record.
    pub async fn start(program: &ShimProgram, dir: &Path, launch: &ShimLaunch) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let stderr = options.create(true).append(true).mode(0o600).open(dir.join("shim.log"))?;
        let name = launch.token_variable.as_str();
        let token = launch.launch.environment.get(name).map_or("", String::as_str);
        let variable = EnvVariable::new(name, token);
        let environment = BTreeMap::from([(program.mark.0, &*program.mark.1), (name, token)]);
        let args = [OsStr::new(VERB), dir.as_os_str()];
        let mut child = start_detached(&program.path, args, environment, stderr)?;
        let text = serde_json::to_vec(launch)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let talking = async {
            if let Some(mut stdin) = stdin {
                stdin.write_all(&text).await?;
                stdin.shutdown().await?;
            }
            let mut hello = String::new();
            if let Some(stdout) = stdout {
                stdout.take(HELLO_BYTES_MAX).read_to_string(&mut hello).await?;
            }
            Ok::<_, io::Error>(hello)
        };
        let hello = tokio::time::timeout(HELLO_MAX, talking).await;
        let shim = Self { dir: dir.to_owned(), child: Some(child), variable };
        let problem = match hello.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(hello) if hello.trim() == "ok" => return Ok(shim),
            Ok(hello) if hello.trim().is_empty() => io::Error::other("it ended without a word"),
            Ok(hello) => io::Error::other(hello.trim().to_owned()),
            Err(error) => error,
        };
        // The task is given up: it must not begin after all.
        shim.kill().await;
        Err(problem)
    }

    /// Goes on with one that a former worker started.
    pub fn adopt(dir: &Path, variable: EnvVariable) -> Self {
        Self { dir: dir.to_owned(), child: None, variable }
    }

    /// Tells it to stop its program.
    ///
    /// # Errors
    /// The disk refuses: it was not told.
    pub fn order(&self, order: &Order) -> io::Result<()> {
        order.write(&self.dir)?;
        // Without the signal it finds the order seconds later.
        if let Some(record) = ShimRecord::read(&self.dir).filter(|record| record.shim.is_alive()) {
            let _ = kill(Pid::from_raw(record.shim.pid), Signal::SIGUSR1);
        }
        Ok(())
    }

    /// Waits for the record of its end; `None` when the shim is gone and has left none. Cancel
    /// safe.
    pub async fn ended(&mut self, changes: &mut watch::Receiver<()>) -> Option<ExitRecord> {
        let mut looks_for_it = true;
        loop {
            changes.borrow_and_update();
            // A program that writes a lot wakes this as often; only the record is looked for then.
            let is_alive = !looks_for_it || self.is_alive();
            if let Some(record) = ExitRecord::read(&self.dir) {
                return Some(record);
            }
            if !is_alive {
                return None;
            }
            let gone = async {
                match &mut self.child {
                    Some(child) => drop(child.wait().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = changes.changed() => {
                    looks_for_it = changed.is_err();
                    if looks_for_it {
                        tokio::time::sleep(LOOK_INTERVAL).await;
                    }
                }
                () = gone => {
                    self.child = None;
                    looks_for_it = true;
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => looks_for_it = true,
            }
        }
    }

    /// Ends shim and program without asking. Blocks nothing.
    pub async fn kill(&self) {
        let (leftover, variable) = (read_leftover(&self.dir), self.variable.clone());
        let killing = move || kill_leftovers(vec![leftover], variable, Vec::new());
        let _ = tokio::task::spawn_blocking(killing).await;
    }

    fn is_alive(&self) -> bool {
        ShimRecord::read(&self.dir).is_some_and(|record| record.shim.is_alive())
    }
}
