//! The shim process from start to end.

use std::{
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigSet, Signal},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::{
    launch::ShimLaunch,
    log_writer::LogWriter,
    record::{ExitRecord, ShimRecord},
    usage::Usage,
    watch::Watch,
};
use crate::{
    clock,
    process::{EnvVariable, Exit, Family, Leaf, ProcessRecord, Started, kill_family, start},
};

const READ_BYTES_MAX: usize = 64 * 1024;
/// Who holds a pipe and cannot be killed must not keep the record from being written.
const PIPES_MAX: Duration = Duration::from_secs(2);
/// A disk that takes no record may take it later.
const RECORD_TRIES: u32 = 60;
/// An engine that is started anew may answer later.
const END_TRIES: u32 = 2;
const END_PAUSE: Duration = Duration::from_secs(2);
const RECORD_PAUSE: Duration = Duration::from_secs(1);

/// What the threads tell the main one.
pub enum Event {
    /// The program has ended.
    Ended(Exit),
    /// No child is left, and so nothing that descends from the program.
    Childless,
    /// A log is at its end; so many bytes of it were dropped.
    Logged(u64),
    /// There may be an order.
    Woken,
    /// This process was told to end.
    Terminated,
}

/// Runs what stdin says, to its end.
pub fn run(dir: &Path) -> ExitCode {
    let _ = prctl::set_name(c"asyncflow-shim");
    match prepare(dir) {
        Ok((launch, record, events, sender)) => {
            keep(dir, &launch, record, &events, &sender);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stdout(), "{error}");
            ExitCode::FAILURE
        }
    }
}

type Prepared = (ShimLaunch, ShimRecord, Receiver<Event>, Sender<Event>);

fn prepare(dir: &Path) -> io::Result<Prepared> {
    prctl::set_child_subreaper(true)?;
    let (sender, events) = channel();
    follow_signals(sender.clone())?;
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    let launch: ShimLaunch = serde_json::from_slice(&text)?;
    let own = i32::try_from(std::process::id()).ok().and_then(ProcessRecord::of);
    let shim = own.ok_or_else(|| io::Error::other("/proc does not show this process"))?;
    // Workers that share a group, as in tests, may have attempts of the same name.
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("{name}.{}", std::process::id());
    let leaf = launch.cgroups.as_ref().and_then(|base| {
        let made = Leaf::make(base, &name, launch.limits);
        made.inspect_err(|error| eprintln!("no control group: {error}")).ok()
    });
    let end_command = launch.end_command.clone();
    let record = ShimRecord { shim, leader: None, leaf, end_command };
    record.write(dir)?;
    ExitRecord::reserve(dir);
    Ok((launch, record, events, sender))
}

/// All of it from one thread; blocked in the others, which come after.
fn follow_signals(sender: Sender<Event>) -> io::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        loop {
            let event = match signals.wait() {
                Ok(Signal::SIGTERM | Signal::SIGINT) => Event::Terminated,
                Ok(_) => Event::Woken,
                Err(_) => continue,
            };
            if sender.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Starts the program, and writes how it ended.
fn keep(
    dir: &Path,
    launch: &ShimLaunch,
    mut record: ShimRecord,
    events: &Receiver<Event>,
    sender: &Sender<Event>,
) {
    let began = clock::since_boot();
    let mut usage = Usage::begin();
    let mut exit_record = match start(&launch.launch, record.leaf.as_ref()) {
        Ok(started) => {
            record.leader = ProcessRecord::of(started.pid);
            if let Err(error) = record.write(dir) {
                eprintln!("the program is not recorded: {error}");
            }
            say_hello();
            follow_program(dir, launch, &record, started, &mut usage, (events, sender))
        }
        Err(error) => {
            say_hello();
            ExitRecord { not_started: Some(error), ..ExitRecord::default() }
        }
    };
    (exit_record.cpu_seconds, exit_record.memory_peak_bytes) = usage.total(record.leaf.as_ref());
    let ran = clock::since_boot().saturating_sub(began);
    exit_record.ran_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
    if let Some(leaf) = &record.leaf {
        leaf.remove();
    }
    for _ in 0..RECORD_TRIES {
        match exit_record.write(dir) {
            Ok(()) => return,
            Err(error) => eprintln!("the end is not recorded: {error}"),
        }
        thread::sleep(RECORD_PAUSE);
    }
}

/// Tells the worker that orders will be heard. It may be gone already.
fn say_hello() {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(b"ok\n").and_then(|()| stdout.flush());
    // The worker must not wait for more.
    let _ = nix::unistd::dup2_stdout(io::stderr());
}

fn follow_program(
    dir: &Path,
    launch: &ShimLaunch,
    record: &ShimRecord,
    started: Started,
    usage: &mut Usage,
    (events, sender): (&Receiver<Event>, &Sender<Event>),
) -> ExitRecord {
    let pid = started.pid;
    read_log(dir, "stdout.log", launch.log_bytes_max, started.stdout, sender);
    read_log(dir, "stderr.log", launch.log_bytes_max, started.stderr, sender);
    reap(pid, sender);
    let mut watch = Watch::new(dir, launch, pid);
    let exit = watch.follow(events, usage);
    let was_killed = exit == Some(Exit::Signal(9)) && !watch.has_killed();
    let out_of_memory = usage.was_out_of_memory(record.leaf.as_ref(), was_killed);
    let unkillable = end_tree(launch, record, pid);
    let end_failed = end_elsewhere(launch);
    let log_dropped_bytes = logs_end(events, watch.logged());
    let told = watch.told();
    ExitRecord {
        exit,
        told,
        out_of_memory,
        log_dropped_bytes,
        unkillable,
        end_failed,
        ..Default::default()
    }
}

fn read_log(
    dir: &Path,
    name: &'static str,
    bytes_max: u64,
    mut pipe: impl Read + Send + 'static,
    sender: &Sender<Event>,
) {
    let mut log = LogWriter::new(dir, name, bytes_max);
    log.begin();
    let failed = sender.clone();
    let sender = sender.clone();
    let reading = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let mut buffer = vec![0; READ_BYTES_MAX];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => log.write(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = sender.send(Event::Logged(log.dropped()));
    });
    if let Err(error) = reading {
        eprintln!("{name} is not read: {error}");
        let _ = failed.send(Event::Logged(0));
    }
}

/// Waits for the program, and for the orphans that are given to this process.
fn reap(leader: i32, sender: &Sender<Event>) {
    let events = sender.clone();
    let failed = sender.clone();
    let reaping = thread::Builder::new().name("children".to_owned()).spawn(move || {
        loop {
            let event = match waitpid(Pid::from_raw(-1), None) {
                Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == leader => {
                    Event::Ended(Exit::Code(code))
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == leader => {
                    Event::Ended(Exit::Signal(signal as i32))
                }
                Err(Errno::ECHILD) => Event::Childless,
                Ok(_) | Err(_) => continue,
            };
            let is_last = matches!(event, Event::Childless);
            if events.send(event).is_err() || is_last {
                return;
            }
        }
    });
    if let Err(error) = reaping {
        eprintln!("the program is not waited for: {error}");
        let _ = failed.send(Event::Childless);
    }
}

/// Ends all that is left of it, and gives those that would not die.
fn end_tree(launch: &ShimLaunch, record: &ShimRecord, leader: i32) -> Vec<i32> {
    if let Some(leaf) = &record.leaf {
        leaf.kill();
    }
    let name = &launch.token_variable;
    let token = launch.launch.environment.get(name).map(|value| EnvVariable::new(name, value));
    let family = Family {
        ancestor: i32::try_from(std::process::id()).ok(),
        session: Some(leader),
        variable: token,
        ..Family::default()
    };
    kill_family(&family).err().unwrap_or_default()
}

/// Ends what is left elsewhere; gives why not.
fn end_elsewhere(launch: &ShimLaunch) -> Option<String> {
    let end_command = launch.end_command.as_ref()?;
    let mut failed = end_command.run().err();
    for _ in 1..END_TRIES {
        if failed.is_some() {
            thread::sleep(END_PAUSE);
            failed = end_command.run().err();
        }
    }
    failed
}

/// Waits until both logs are at their end, and gives what of them was dropped.
fn logs_end(events: &Receiver<Event>, already: (u32, u64)) -> u64 {
    let (mut ended, mut dropped) = already;
    let limit = clock::since_boot() + PIPES_MAX;
    while ended < 2 {
        let left = limit.saturating_sub(clock::since_boot());
        match events.recv_timeout(left) {
            Ok(Event::Logged(bytes)) => {
                ended += 1;
                dropped += bytes;
            }
            Ok(_) if !left.is_zero() => {}
            Ok(_) | Err(_) => break,
        }
    }
    dropped
}
