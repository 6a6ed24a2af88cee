//! Starting programs.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
};

use nix::{errno::Errno, sys::signal::SigSet};
use serde::{Deserialize, Serialize};

use super::cgroup::Leaf;

/// What is to be started.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    /// A path, or a name to be found on the PATH in `environment`.
    pub program: String,
    /// Exactly these arguments.
    pub args: Vec<String>,
    /// Where it starts.
    pub working_directory: PathBuf,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
}

/// Why a program could not be started, with the exit code that a shell would give.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// A process that leads its own session and process group; whoever started it has to wait for it.
#[derive(Debug)]
pub struct Started {
    /// Its process id, which is also that of its group and session.
    pub pid: i32,
    /// What it writes.
    pub stdout: ChildStdout,
    /// As `stdout`.
    pub stderr: ChildStderr,
}

/// Starts a program, in the control group if one is given. Not to be called while another thread
/// waits for all children.
///
/// # Errors
/// [`SpawnError`]; nothing runs then.
pub fn start(launch: &Launch, leaf: Option<&Leaf>) -> Result<Started, SpawnError> {
    let mut child = spawn(launch, Stdio::null(), leaf.and_then(Leaf::door))?;
    let pid = i32::try_from(child.id()).unwrap_or_default();
    match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => Ok(Started { pid, stdout, stderr }),
        _ => Err(not_started(&launch.program, &io::Error::other("it has no pipes"))),
    }
}

/// Starts a program that leads its own session too, and is asked by its stdin.
///
/// # Errors
/// [`SpawnError`]; nothing runs then.
pub fn start_served(launch: &Launch, stdin: Stdio) -> Result<Child, SpawnError> {
    spawn(launch, stdin, None)
}

fn spawn(launch: &Launch, stdin: Stdio, door: Option<File>) -> Result<Child, SpawnError> {
    check_directory(&launch.working_directory)?;
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .env_clear()
        .envs(&launch.environment)
        .current_dir(&launch.working_directory)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    lead_session(&mut command, door);
    command.spawn().map_err(|error| not_started(&launch.program, &error))
}

/// Starts a program that outlives this one: in a session of its own, with nothing of this process
/// but its pipes. Must be called inside of a tokio runtime, which reaps it.
///
/// # Errors
/// What the system says.
pub fn start_detached(
    program: &Path,
    args: [&OsStr; 2],
    environment: BTreeMap<&str, &str>,
    stderr: File,
) -> io::Result<tokio::process::Child> {
    let mut command = Command::new(program);
    command
        .arg0("asyncflow-shim")
        .args(args)
        .env_clear()
        .envs(environment)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr);
    lead_session(&mut command, None);
    tokio::process::Command::from(command).kill_on_drop(false).spawn()
}

#[expect(unsafe_code, reason = "pre_exec is unsafe: the closure runs between fork and exec")]
fn lead_session(command: &mut Command, door: Option<File>) {
    let become_leader = move || {
        if let Some(door) = &door {
            // Who stays outside is found by the other signs.
            let _ = nix::unistd::write(door, b"0");
        }
        // The parent may have blocked signals.
        SigSet::empty().thread_set_mask().map_err(io::Error::from)?;
        nix::unistd::setsid().map(drop).map_err(io::Error::from)
    };
    // SAFETY: write, sigprocmask and setsid are async-signal-safe; the closure allocates nothing
    // and takes no lock.
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
