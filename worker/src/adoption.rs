//! What an attempt's directory holds for the worker that goes on with it after this one.
//!
//! | file | what | until |
//! |---|---|---|
//! | `lease.pb` | task and lease, without its environment | the outcome is in the journal |
//! | `token` | what its programs call with | the same |
//! | `sent` | how far its log is sent, and the chunks of the last call | |
//! | `result.pb`, `wait.pb`, `hand_over.pb` | what was set by the socket | |
//!
//! How far the events are read is kept by `events`; who runs, and how it ended, by `shim`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use asyncflow_sdk::{
    v1::{LeasedTask, LogChunk, LogStream, PushTaskLogsRequest},
    worker::LogKeeper,
};
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::{
    events::EventsMark,
    shim::{ExitRecord, put, ran_for, read_leftover},
};

const LEASE: &str = "lease.pb";
const TOKEN: &str = "token";
const SENT: &str = "sent";

/// An attempt that goes on, or has ended unsettled.
#[derive(Clone, Debug)]
pub struct Adoptable {
    /// Its directory.
    pub dir: PathBuf,
    /// As it was handed out, without the environment of its command.
    pub leased: LeasedTask,
    /// What its programs call with.
    pub token: String,
    /// How long its program runs already, or ran.
    pub ran: Duration,
    /// Its shim is gone and has told no end, but what it has saved was not told to a broker yet.
    /// The lease is held for as long as that takes, and then it is left to run out: the crash
    /// counts.
    pub is_gone: bool,
}

/// What a former worker has left.
#[derive(Debug, Default)]
pub struct Found {
    /// To be gone on with.
    pub adoptable: Vec<Adoptable>,
    /// Directories of those that are to be ended, and then forgotten.
    pub leftovers: Vec<PathBuf>,
}

/// Writes down what is needed to go on with an attempt. The environment of its command is not, and
/// has secrets in it.
///
/// # Errors
/// The disk refuses.
pub fn keep(dir: &Path, mut leased: LeasedTask, token: &str) -> io::Result<()> {
    if let Some(command) = leased.task.as_mut().and_then(|task| task.command.as_mut()) {
        command.environment.clear();
    }
    put(dir, TOKEN, token.as_bytes())?;
    put(dir, LEASE, &leased.encode_to_vec())
}

/// The attempt is not to be gone on with any more.
pub fn forget(dir: &Path) {
    for name in [LEASE, TOKEN] {
        if let Err(error) = fs::remove_file(dir.join(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %dir.display(), name, %error, "cannot forget an attempt");
        }
    }
}

/// Whether the attempt is not settled yet.
pub fn is_kept(dir: &Path) -> bool {
    dir.join(LEASE).exists()
}

/// Looks through the directories of attempts. One whose shim is gone without a record of its end,
/// and that has saved nothing more, is not gone on with: its lease goes back. One that is settled
/// was ended before, and costs no more than the look whether it is.
pub fn find(attempts: &Path) -> Found {
    let mut found = Found::default();
    for entry in fs::read_dir(attempts).into_iter().flatten().flatten() {
        let dir = entry.path();
        if !is_kept(&dir) {
            continue;
        }
        match adoptable(&dir) {
            Some(adoptable) => found.adoptable.push(adoptable),
            None => found.leftovers.push(dir),
        }
    }
    found
}

fn adoptable(dir: &Path) -> Option<Adoptable> {
    let Some((leased, token)) = kept(dir) else {
        let dir = dir.display();
        tracing::warn!(%dir, "an attempt is not gone on with: its lease.pb or token is damaged");
        return None;
    };
    let shim = read_leftover(dir).shim;
    let goes_on = shim.is_some_and(|shim| shim.is_alive()) || ExitRecord::read(dir).is_some();
    let is_gone = !goes_on;
    if is_gone && !EventsMark::read(dir).has_saves_ahead() {
        return None;
    }
    let ran = ran_for(dir).unwrap_or_default();
    Some(Adoptable { dir: dir.to_owned(), leased, token, ran, is_gone })
}

/// What [`keep`] has written, unless something of it is damaged.
fn kept(dir: &Path) -> Option<(LeasedTask, String)> {
    let leased: LeasedTask = kept_message(dir, LEASE)?;
    let token = fs::read_to_string(dir.join(TOKEN)).ok()?;
    // An empty file is a message too, of which everything is left out.
    (leased.task.is_some() && !token.is_empty()).then_some((leased, token))
}

/// Keeps something that was set by the socket.
pub fn keep_message(dir: &Path, name: &str, message: &impl Message) {
    if let Err(error) = put(dir, name, &message.encode_to_vec()) {
        tracing::warn!(dir = %dir.display(), name, %error, "not kept for a later worker");
    }
}

/// What was kept under this name.
pub fn kept_message<M: Message + Default>(dir: &Path, name: &str) -> Option<M> {
    M::decode(&fs::read(dir.join(name)).ok()?[..]).ok()
}

/// How far each log file is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Of stdout.
    pub stdout: u64,
    /// Of stderr.
    pub stderr: u64,
}

impl Sent {
    /// What was kept; zero if nothing was.
    pub fn read(dir: &Path) -> Self {
        read_sent(dir).map_or_else(Self::default, |(sent, _)| sent)
    }
}

fn read_sent(dir: &Path) -> Option<(Sent, Vec<LogChunk>)> {
    let bytes = fs::read(dir.join(SENT)).ok()?;
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (head, body) = bytes.split_at(end);
    let chunks = PushTaskLogsRequest::decode(body.get(1..)?).ok()?.chunks;
    Some((serde_json::from_slice(head).ok()?, chunks))
}

/// Keeps what was sent of one attempt's log.
pub struct SentLog {
    dir: PathBuf,
    sent: Sent,
    end: i64,
    is_broken: bool,
}

impl SentLog {
    /// Of the attempt in this directory.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, sent: Sent::default(), end: 0, is_broken: false }
    }

    fn count(&mut self, chunks: &[LogChunk]) {
        for chunk in chunks {
            let bytes = i64::try_from(chunk.data.len()).unwrap_or(i64::MAX);
            // What was left out before it belongs to the same file.
            let moved = u64::try_from(chunk.offset - self.end + bytes).unwrap_or_default();
            self.end = chunk.offset + bytes;
            match chunk.stream() {
                LogStream::Stdout => self.sent.stdout += moved,
                LogStream::Stderr => self.sent.stderr += moved,
                _ => {}
            }
        }
    }
}

impl LogKeeper for SentLog {
    fn unconfirmed(&mut self) -> Vec<LogChunk> {
        let Some((sent, chunks)) = read_sent(&self.dir) else { return Vec::new() };
        self.sent = sent;
        let end = |last: &LogChunk| last.offset + i64::try_from(last.data.len()).unwrap_or(0);
        self.end = chunks.last().map_or(0, end);
        chunks
    }

    fn sending(&mut self, chunks: &[LogChunk]) {
        self.count(chunks);
        let write = || {
            let mut bytes = serde_json::to_vec(&self.sent)?;
            bytes.push(b'\n');
            let chunks = chunks.to_vec();
            PushTaskLogsRequest { session_id: String::new(), chunks }.encode(&mut bytes)?;
            put(&self.dir, SENT, &bytes)
        };
        match write() {
            Ok(()) => self.is_broken = false,
            // One line for a disk that is full.
            Err(error) if !self.is_broken => {
                self.is_broken = true;
                let dir = self.dir.display();
                tracing::warn!(%dir, %error, "a later worker would send parts of the log twice");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use asyncflow_sdk::v1::{Command, Task};

    use super::*;
    use crate::events::EVENTS_FILE;

    fn chunk(stream: LogStream, offset: i64, data: &'static str) -> LogChunk {
        let stream = stream.into();
        LogChunk { stream, offset, data: data.into(), ..LogChunk::default() }
    }

    #[test]
    fn the_next_worker_knows_the_last_call_and_where_each_file_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = SentLog::new(dir.path().to_owned());
        assert!(first.unconfirmed().is_empty());
        first.sending(&[chunk(LogStream::Stdout, 0, "one"), chunk(LogStream::System, 3, "told")]);
        let last = [chunk(LogStream::Stderr, 17, "oops"), chunk(LogStream::Stdout, 21, "two")];
        first.sending(&last);
        assert_eq!(Sent::read(dir.path()), Sent { stdout: 6, stderr: 14 });
        let mut second = SentLog::new(dir.path().to_owned());
        assert_eq!(second.unconfirmed(), last);
        second.sending(&[chunk(LogStream::Stdout, 24, "three")]);
        assert_eq!(Sent::read(dir.path()), Sent { stdout: 11, stderr: 14 });
    }

    #[test]
    fn only_what_runs_or_has_ended_or_saved_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let environment = [("SECRET".to_owned(), "hush".to_owned())].into();
        let command = Command { program: "true".to_owned(), environment, ..Command::default() };
        let task = Task { command: Some(command), ..Task::default() };
        let leased = LeasedTask { task: Some(task), ..LeasedTask::default() };
        let make = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            keep(&path, leased.clone(), "secret").unwrap();
            path
        };
        let (ended, vanished, settled) = (make("a.1"), make("b.1"), make("c.1"));
        let (unheard, chatty) = (make("d.1"), make("e.1"));
        let say = |dir: &Path, line: &str| fs::write(dir.join(EVENTS_FILE), line).unwrap();
        say(&unheard, "{\"event\":\"stage\",\"stage\":\"one\"}\n");
        say(&chatty, "{\"event\":\"progress\",\"percent\":1}\nno event\n");
        ExitRecord { ran_ms: 7_000, ..ExitRecord::default() }.write(&ended).unwrap();
        ExitRecord::default().write(&settled).unwrap();
        forget(&settled);
        let mut found = find(dir.path());
        found.adoptable.sort_by_key(|one| one.is_gone);
        let dirs: Vec<_> = found.adoptable.iter().map(|one| (&one.dir, one.is_gone)).collect();
        assert_eq!(dirs, [(&ended, false), (&unheard, true)]);
        assert_eq!(found.adoptable[0].token, "secret");
        assert_eq!(found.adoptable[0].ran, Duration::from_secs(7));
        let command = found.adoptable[0].leased.task.as_ref().unwrap().command.as_ref().unwrap();
        assert_eq!((&*command.program, command.environment.len()), ("true", 0));
        found.leftovers.sort();
        assert_eq!(found.leftovers, [vanished, chatty], "what is settled was ended then");
        for (name, damaged) in
            [(LEASE, &b""[..]), (LEASE, b"\x0a\xff"), (TOKEN, b""), (TOKEN, b"\xff")]
        {
            let whole = fs::read(ended.join(name)).unwrap();
            fs::write(ended.join(name), damaged).unwrap();
            assert!(find(dir.path()).leftovers.contains(&ended), "{name} is {damaged:?}");
            fs::write(ended.join(name), whole).unwrap();
        }
        assert_eq!(fs::read_dir(&settled).unwrap().count(), 1, "its token is gone too");
    }
}
