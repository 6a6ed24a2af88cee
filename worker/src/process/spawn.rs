//! Starting a program and waiting for it.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::process::{Child, Command};

/// What is to be started.
#[derive(Debug)]
pub struct Launch {
    /// A path, or a name to be found on the PATH in `environment`.
    pub program: String,
    /// Exactly these arguments.
    pub args: Vec<String>,
    /// Where it starts.
    pub working_directory: PathBuf,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// A file, not a pipe: the end of the worker must not end the program by SIGPIPE.
    pub stdout: File,
    /// As `stdout`.
    pub stderr: File,
}

/// Why a program could not be started, with the exit code that a shell would give.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SpawnError {
    /// 126: not executable, or its directory is missing; 127: not found.
    pub exit_code: i32,
    /// Whether it would fail again.
    pub is_permanent: bool,
    /// For people.
    pub message: String,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    /// The code, or −signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => -signal,
        }
    }
}

/// A process that leads its own session and process group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: i32,
    reaped: bool,
}

impl Process {
    /// Starts it. Must be called inside of a tokio runtime.
    ///
    /// # Errors
    /// [`SpawnError`]; nothing runs then.
    pub fn start(launch: Launch) -> Result<Self, SpawnError> {
        check_directory(&launch.working_directory)?;
        let program = launch.program.clone();
        let mut command = Command::new(launch.program);
        command
            .args(launch.args)
            .env_clear()
            .envs(launch.environment)
            .current_dir(launch.working_directory)
            .stdin(Stdio::null())
            .stdout(launch.stdout)
            .stderr(launch.stderr)
            .kill_on_drop(false);
        lead_session(&mut command);
        let child = command.spawn().map_err(|error| not_started(&program, &error))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        Ok(Self { child, pid, reaped: false })
    }

    /// Its process id, which is also that of its group and session.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for its end. Cancel safe.
    ///
    /// # Errors
    /// What the system says.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        let status = self.child.wait().await?;
        self.reaped = true;
        let by_signal = || Exit::Signal(status.signal().unwrap_or_default());
        Ok(status.code().map_or_else(by_signal, Exit::Code))
    }

    /// Sends a signal to its process group, unless it was waited for already: then the number may
    /// belong to somebody else.
    pub fn signal_group(&self, signal: Signal) {
        if self.reaped || self.pid <= 0 {
            return;
        }
        match killpg(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => tracing::warn!(pid = self.pid, %error, "cannot signal"),
        }
    }
}

#[expect(unsafe_code, reason = "pre_exec is unsafe: the closure runs between fork and exec")]
fn lead_session(command: &mut Command) {
    let become_leader = || nix::unistd::setsid().map(drop).map_err(io::Error::from);
    // SAFETY: setsid is async-signal-safe; the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(become_leader) };
}

fn check_directory(path: &Path) -> Result<(), SpawnError> {
    let what = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => "is not a directory".to_owned(),
        Err(error) => format!("cannot be entered: {error}"),
    };
    let message = format!("the working directory {} {what}", path.display());
    Err(SpawnError { exit_code: 126, is_permanent: true, message })
}

fn not_started(program: &str, error: &io::Error) -> SpawnError {
    let message = format!("{program} cannot be executed: {error}");
    let transient = [Errno::EAGAIN, Errno::ENOMEM, Errno::EMFILE, Errno::ENFILE, Errno::ETXTBSY];
    let is_transient =
        error.raw_os_error().is_some_and(|number| transient.contains(&Errno::from_raw(number)));
    let exit_code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    SpawnError { exit_code, is_permanent: !is_transient, message }
}
