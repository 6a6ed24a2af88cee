//! What a shim writes about itself: who runs, and how it ended.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::process::{EndCommand, Exit, Leaf, Leftover, ProcessRecord, SpawnError};

const SHIM_FILE: &str = "shim.json";
const EXIT_FILE: &str = "exit.json";
const EXIT_DRAFT: &str = "exit.draft";
/// So much is taken from the disk at the start, so that the record can be written on a full one.
const DRAFT_BYTES: usize = 4_096;

/// Who runs, for whoever comes after the worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShimRecord {
    /// The shim.
    pub shim: ProcessRecord,
    /// The program; none before it is started.
    pub leader: Option<ProcessRecord>,
    /// Its control group.
    pub leaf: Option<Leaf>,
    /// Ends what is left elsewhere.
    #[serde(default)]
    pub end_command: Option<EndCommand>,
}

impl ShimRecord {
    /// Replaces what was written before.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        put(dir, SHIM_FILE, &serde_json::to_vec(self)?)
    }

    /// What a shim wrote here.
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(SHIM_FILE)).ok()?).ok()
    }
}

/// What runs in this directory, for its end; nothing if no shim was ever there.
pub fn read_leftover(dir: &Path) -> Leftover {
    let record = ShimRecord::read(dir);
    record.map_or_else(Leftover::default, |record| Leftover {
        shim: Some(record.shim),
        leader: record.leader,
        leaf: record.leaf,
        end_command: record.end_command,
    })
}

/// How long the program in this directory runs, or ran; `None` if nobody knows.
pub fn ran_for(dir: &Path) -> Option<Duration> {
    match ExitRecord::read(dir) {
        Some(record) => Some(Duration::from_millis(record.ran_ms)),
        None => ShimRecord::read(dir)?.leader?.age(),
    }
}

/// Why a program was told to stop: the worker's word for it, and one for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// For programs.
    pub reason: String,
    /// For people.
    pub text: String,
}

/// How an attempt ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExitRecord {
    /// How the program ended; `None` when it never ran, or the system would not say.
    pub exit: Option<Exit>,
    /// Why it never ran.
    pub not_started: Option<SpawnError>,
    /// Why it was told to stop, if that came before its end.
    pub told: Option<Told>,
    /// The kernel ended it, or something of it, for lack of memory.
    pub out_of_memory: bool,
    /// Bytes of its log that are not kept.
    pub log_dropped_bytes: u64,
    /// Time of all its processes on cores.
    pub cpu_seconds: f64,
    /// Most main memory that it held at once, as far as that could be seen.
    pub memory_peak_bytes: u64,
    /// How long it ran.
    pub ran_ms: u64,
    /// Processes that would not die.
    pub unkillable: Vec<i32>,
    /// Why what it left elsewhere, as a container, could not be ended.
    pub end_failed: Option<String>,
}

impl ExitRecord {
    /// Takes the room for it from the disk. That there is none shows at the end.
    pub fn reserve(dir: &Path) {
        let _ = fs::write(dir.join(EXIT_DRAFT), [b' '; DRAFT_BYTES]);
    }

    /// Makes it durable: it appears whole or not at all.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let draft = dir.join(EXIT_DRAFT);
        let mut file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&draft)?;
        // Blanks that are left after it are none of JSON's business.
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&draft, dir.join(EXIT_FILE))?;
        File::open(dir)?.sync_all()
    }

    /// The record, once the attempt has ended.
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(EXIT_FILE)).ok()?).ok()
    }
}

/// Replaces a file by a whole new one. It need not outlive the machine's boot.
pub fn put(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = dir.join(format!("{name}.draft"));
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    options.open(&draft)?.write_all(bytes)?;
    fs::rename(draft, dir.join(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_record_fits_into_what_was_reserved_for_it() {
        let dir = tempfile::tempdir().unwrap();
        ExitRecord::reserve(dir.path());
        assert!(ExitRecord::read(dir.path()).is_none());
        let told = Told { reason: "timed_out".to_owned(), text: "the time is over".to_owned() };
        let record = ExitRecord {
            exit: Some(Exit::Signal(9)),
            told: Some(told.clone()),
            log_dropped_bytes: u64::MAX,
            ..ExitRecord::default()
        };
        record.write(dir.path()).unwrap();
        let read = ExitRecord::read(dir.path()).unwrap();
        assert_eq!((read.exit, read.told), (Some(Exit::Signal(9)), Some(told)));
        let length = fs::metadata(dir.path().join(EXIT_FILE)).unwrap().len();
        assert_eq!(length, u64::try_from(DRAFT_BYTES).unwrap());
    }
}
