//! A Python process that has imported the modules, and runs one attempt after the other.
//!
//! ```text
//!  pool ─▶ its thread ─ socket on stdin ─▶ python -m asyncflow.task serve MODULE…
//!              ▲ stdout, stderr ◀────────────────┘
//!              └─▶ stdout.log, stderr.log of the attempt that runs
//! ```
//!
//! It is the child of a thread of its own, for as long as it lives: it dies with that thread, and
//! so with the worker, however that ends.

use std::{
    collections::BTreeMap,
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream as StdUnixStream, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::Child,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, read},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixStream, unix::pipe},
    runtime,
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
};

use crate::{
    process::{EnvVariable, Exit, Family, Launch, ProcessRecord, kill_family, start_served},
    shim::{ExitRecord, LogWriter},
};

const READ_BYTES_MAX: usize = 64 * 1024;
/// Of one pipe: more than it can hold.
const READS_MAX: usize = 64;
const LINE_BYTES_MAX: usize = 64 * 1024;
const REAP_PAUSE: Duration = Duration::from_millis(2);

type Logs = [Option<LogWriter>; 2];

/// One attempt.
pub struct Job {
    /// Of the attempt: where its log goes.
    pub dir: PathBuf,
    /// Where it starts.
    pub working_directory: PathBuf,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// Marks what it starts.
    pub token: EnvVariable,
    /// What is kept of each stream.
    pub log_bytes_max: u64,
}

/// How an attempt ended.
pub struct Ran {
    /// As a shim would have written it.
    pub record: ExitRecord,
    /// The process may run another one.
    pub is_reusable: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    environment: &'a BTreeMap<String, String>,
    directory: &'a Path,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    ready: bool,
    exit: Option<i32>,
    /// The task has left something behind in the process.
    spent: bool,
    cpu_seconds: f64,
    memory_peak_bytes: u64,
}

type Asked = (Job, oneshot::Sender<Ran>);
type Asking = oneshot::Sender<Result<Leader, String>>;

/// A process that is ready. Dropping it ends it, with all that it has started.
pub struct Warm {
    jobs: UnboundedSender<Asked>,
    leader: Leader,
}

/// Its process group, while it is there.
#[derive(Clone)]
struct Leader(Arc<Mutex<Option<i32>>>);

impl Leader {
    fn signal(&self, signal: Signal) {
        // Reaped under this lock: before that the number is nobody else's.
        let pid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = pid.map(|pid| killpg(Pid::from_raw(pid), signal));
    }
}

impl Warm {
    /// Starts one, and waits until it has imported its modules. Not to be waited for without a time
    /// limit; when this is dropped before, it ends.
    ///
    /// # Errors
    /// It cannot be started, or ended before it was ready; for people.
    pub async fn start(launch: Launch) -> Result<Self, String> {
        let (jobs, asked) = unbounded_channel();
        let (ready, is_ready) = oneshot::channel();
        let living = move || live(&launch, ready, asked);
        let spawned = thread::Builder::new().name("python".to_owned()).spawn(living);
        spawned.map_err(|error| format!("no thread for it: {error}"))?;
        let leader = is_ready.await.map_err(|_| "it ended while it imported its modules")??;
        Ok(Self { jobs, leader })
    }

    /// Begins an attempt. The receiver fails when the process was gone before.
    pub fn run(&self, job: Job) -> oneshot::Receiver<Ran> {
        let (ran, has_run) = oneshot::channel();
        let _ = self.jobs.send((job, ran));
        has_run
    }

    /// To the process and what it has started.
    pub fn signal(&self, signal: Signal) {
        self.leader.signal(signal);
    }

    /// Whether it is there, as far as is known.
    pub fn is_alive(&self) -> bool {
        let pid = *self.leader.0.lock().unwrap_or_else(PoisonError::into_inner);
        pid.and_then(ProcessRecord::of).is_some_and(|process| process.is_alive())
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        // Its thread sees that, and clears up.
        self.leader.signal(Signal::SIGKILL);
    }
}

/// The life of the process, on a thread of its own.
fn live(launch: &Launch, ready: Asking, asked: UnboundedReceiver<Asked>) {
    // With it everything is polled here: no other thread may start the process.
    match runtime::Builder::new_current_thread().enable_io().build() {
        Ok(runtime) => runtime.block_on(serve(launch, ready, asked)),
        Err(error) => drop(ready.send(Err(format!("no runtime for it: {error}")))),
    }
}

async fn serve(launch: &Launch, ready: Asking, mut asked: UnboundedReceiver<Asked>) {
    let mut process = match Process::start(launch) {
        Ok(process) => process,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let is_ready = process.follow(&mut [None, None], |answer| answer.ready).await.is_some();
    // Nobody may wait any more.
    let mut is_wanted = is_ready && ready.send(Ok(process.leader.clone())).is_ok();
    while is_wanted && let Some((job, ran)) = asked.recv().await {
        let outcome = process.run(&job).await;
        is_wanted = outcome.is_reusable;
        if !is_wanted {
            // What it has left is gone before the attempt is told to be over.
            process.end(Some(job.token));
        }
        is_wanted &= ran.send(outcome).is_ok();
    }
    process.end(None);
}

enum Said {
    Nothing,
    Answers(Vec<Answer>),
    Gone,
}

struct Process {
    child: Child,
    pid: i32,
    leader: Leader,
    socket: UnixStream,
    /// The beginning of a line.
    heard: Vec<u8>,
    /// stdout and stderr, until they are closed.
    pipes: [Option<pipe::Receiver>; 2],
    exit: Option<Exit>,
}

impl Process {
    fn start(launch: &Launch) -> Result<Self, String> {
        let no_pipes = |error: io::Error| format!("no pipes for it: {error}");
        let (ours, theirs) = StdUnixStream::pair().map_err(no_pipes)?;
        ours.set_nonblocking(true).map_err(no_pipes)?;
        let socket = UnixStream::from_std(ours).map_err(no_pipes)?;
        let child = start_served(launch, OwnedFd::from(theirs).into());
        let mut child = child.map_err(|error| error.message)?;
        let pid = i32::try_from(child.id()).unwrap_or_default();
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        // Without one of them it writes into nothing, and still works.
        let pipes = [stdout, stderr].map(|fd| pipe::Receiver::from_owned_fd(fd?).ok());
        let leader = Leader(Arc::new(Mutex::new(Some(pid))));
        Ok(Self { child, pid, leader, socket, heard: Vec::new(), pipes, exit: None })
    }

    async fn run(&mut self, job: &Job) -> Ran {
        // What came since the last one is nobody's.
        self.take_output(&mut [None, None]);
        let mut logs = ["stdout.log", "stderr.log"].map(|name| {
            let mut log = LogWriter::new(&job.dir, name, job.log_bytes_max);
            log.begin();
            Some(log)
        });
        let request = Request { environment: &job.environment, directory: &job.working_directory };
        let mut line = serde_json::to_vec(&request).unwrap_or_default();
        line.push(b'\n');
        // One that is gone is noticed when its answer is waited for.
        let _ = self.socket.write_all(&line).await;
        let answer = self.follow(&mut logs, |answer| answer.exit.is_some()).await;
        let mut record = ExitRecord {
            log_dropped_bytes: logs.iter().flatten().map(LogWriter::dropped).sum(),
            ..ExitRecord::default()
        };
        let Some(answer) = answer else {
            record.exit = self.reap();
            return Ran { record, is_reusable: false };
        };
        record.exit = answer.exit.map(Exit::Code);
        record.cpu_seconds = answer.cpu_seconds;
        record.memory_peak_bytes = answer.memory_peak_bytes;
        Ran { record, is_reusable: !answer.spent }
    }

    /// Takes what it writes until it answers so; `None`: it is gone. All that it wrote before is in
    /// the logs then.
    async fn follow(
        &mut self,
        logs: &mut Logs,
        is_last: impl Fn(&Answer) -> bool,
    ) -> Option<Answer> {
        loop {
            match self.next(logs).await {
                Said::Nothing => continue,
                Said::Answers(answers) => {
                    if let Some(last) = answers.into_iter().find(&is_last) {
                        self.take_output(logs);
                        return Some(last);
                    }
                }
                Said::Gone => {
                    self.take_output(logs);
                    return None;
                }
            }
        }
    }

    /// Waits for something, and reads it.
    async fn next(&mut self, logs: &mut Logs) -> Said {
        let Self { socket, heard, pipes: [stdout, stderr], .. } = self;
        let number = tokio::select! {
            _ = socket.readable() => return hear(socket, heard),
            () = readable(stdout.as_ref()) => 0,
            () = readable(stderr.as_ref()) => 1,
        };
        let log = logs.get_mut(number).and_then(Option::as_mut);
        if let Some(pipe) = self.pipes.get_mut(number) {
            let is_open =
                pipe.as_ref().is_some_and(|open| take(|buffer| open.try_read(buffer), log));
            if !is_open {
                *pipe = None;
            }
        }
        Said::Nothing
    }

    /// What is there, whether the runtime knows of it or not.
    fn take_output(&mut self, logs: &mut Logs) {
        for (pipe, log) in self.pipes.iter_mut().zip(logs) {
            let Some(open) = pipe else { continue };
            if !take(|buffer| Ok(read(&*open, buffer)?), log.as_mut()) {
                *pipe = None;
            }
        }
    }

    /// How it ended. It is killed unless it has.
    fn reap(&mut self) -> Option<Exit> {
        self.leader.signal(Signal::SIGKILL);
        while self.exit.is_none() {
            let mut pid = self.leader.0.lock().unwrap_or_else(PoisonError::into_inner);
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    *pid = None;
                    let signal = status.signal().map(Exit::Signal);
                    self.exit = status.code().map(Exit::Code).or(signal);
                }
                Ok(None) => {
                    drop(pid);
                    thread::sleep(REAP_PAUSE);
                }
                Err(_) => break,
            }
        }
        self.exit
    }

    /// With all that it has started, and what carries this.
    fn end(&mut self, token: Option<EnvVariable>) {
        let is_there = self.exit.is_none();
        if is_there || token.is_some() {
            let family = Family {
                ancestor: is_there.then_some(self.pid),
                session: is_there.then_some(self.pid),
                variable: token,
                ..Family::default()
            };
            if let Err(pids) = kill_family(&family) {
                tracing::error!(?pids, "processes of a Python task are left");
            }
        }
        self.reap();
    }
}

/// Never, once it is closed.
async fn readable(pipe: Option<&pipe::Receiver>) {
    match pipe {
        // An error is met again when it is read.
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
}

fn hear(socket: &UnixStream, heard: &mut Vec<u8>) -> Said {
    let mut buffer = [0; 4096];
    match socket.try_read(&mut buffer) {
        Ok(0) => return Said::Gone,
        Ok(count) => heard.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        Err(error) if is_passing(&error) => return Said::Nothing,
        Err(_) => return Said::Gone,
    }
    let Some(end) = heard.iter().rposition(|byte| *byte == b'\n') else {
        let is_endless = heard.len() > LINE_BYTES_MAX;
        return if is_endless { Said::Gone } else { Said::Nothing };
    };
    let rest = heard.split_off(end + 1);
    let lines = std::mem::replace(heard, rest);
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let answers: Result<Vec<_>, _> = lines.map(serde_json::from_slice).collect();
    answers.map_or(Said::Gone, Said::Answers)
}

/// Takes what is there, and not more than a pipe can hold: it may write without an end. Whether
/// the pipe is still open.
fn take(read: impl Fn(&mut [u8]) -> io::Result<usize>, mut log: Option<&mut LogWriter>) -> bool {
    let mut buffer = vec![0; READ_BYTES_MAX];
    for _ in 0..READS_MAX {
        match read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => {
                if let Some(log) = &mut log {
                    log.write(buffer.get(..count).unwrap_or_default());
                }
            }
            Err(error) => return is_passing(&error),
        }
    }
    true
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
