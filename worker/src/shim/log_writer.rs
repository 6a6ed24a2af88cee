//! One log of an attempt: its beginning and its newest part, within a limit.
//!
//! ```text
//!  stdout.log                       the beginning, 1 MiB at most
//!  stdout.log.00000000000001048576  what follows; the name says at which byte it begins
//!  stdout.log.00000000000018874368  …; when there are eight of them the oldest is deleted
//! ```
//!
//! What cannot be written is dropped and counted; the program never waits for a disk that is full.
//! A part that follows a hole begins at the byte after it, so positions stay true.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::clock;

const HEAD_BYTES_MAX: u64 = 1024 * 1024;
const PARTS: usize = 8;
const PART_BYTES_MIN: u64 = 4 * 1024;
/// A disk that was full is not asked again for so long.
const PAUSE: Duration = Duration::from_secs(1);

struct Open {
    file: File,
    start: u64,
    path: PathBuf,
    room: u64,
}

/// Writes one log.
pub struct LogWriter {
    path: PathBuf,
    head_bytes: u64,
    part_bytes: u64,
    position: u64,
    open: Option<Open>,
    /// Ends and paths of the parts, without the beginning.
    parts: VecDeque<(PathBuf, u64)>,
    dropped: u64,
    asked_again_at: Option<Duration>,
}

impl LogWriter {
    /// A log of at most `bytes_max`, as `name` in a directory.
    pub fn new(dir: &Path, name: &str, bytes_max: u64) -> Self {
        let head_bytes = HEAD_BYTES_MAX.min(bytes_max / 2);
        let parts = u64::try_from(PARTS).unwrap_or(1);
        Self {
            path: dir.join(name),
            head_bytes,
            part_bytes: ((bytes_max - head_bytes) / parts).max(PART_BYTES_MIN),
            position: 0,
            open: None,
            parts: VecDeque::new(),
            dropped: 0,
            asked_again_at: None,
        }
    }

    /// Makes the file of the beginning, so that there is one also of a program that says nothing.
    pub fn begin(&mut self) {
        if let Err(error) = self.open() {
            self.fail(0, &error);
        }
    }

    /// Bytes that were written and are not there.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes what the program wrote.
    pub fn write(&mut self, mut data: &[u8]) {
        if self.asked_again_at.is_some_and(|at| clock::since_boot() < at) {
            return self.drop(data.len());
        }
        self.asked_again_at = None;
        while !data.is_empty() {
            match self.write_some(data) {
                Ok(count) => data = data.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.fail(data.len(), &error),
            }
        }
    }

    fn write_some(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.open.is_none() {
            self.open()?;
        }
        let Some(open) = &mut self.open else { return Err(io::Error::other("no log file")) };
        let most = usize::try_from(open.room).unwrap_or(usize::MAX).min(data.len());
        let count = open.file.write(data.get(..most).unwrap_or_default())?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let bytes = u64::try_from(count).unwrap_or_default();
        open.room -= bytes;
        self.position += bytes;
        if open.room == 0 {
            self.close();
        }
        Ok(count)
    }

    fn open(&mut self) -> io::Result<()> {
        let start = self.position;
        let (path, room) = match start {
            0 => (self.path.clone(), self.head_bytes),
            _ => (part_path(&self.path, start), self.part_bytes),
        };
        while self.parts.len() >= PARTS {
            let Some((path, bytes)) = self.parts.pop_front() else { break };
            let _ = fs::remove_file(path);
            self.dropped += bytes;
        }
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(&path)?;
        self.open = Some(Open { file, start, path, room });
        Ok(())
    }

    /// Nothing more is written into the part that is open.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let bytes = self.position - open.start;
        if bytes == 0 && open.start > 0 {
            let _ = fs::remove_file(open.path);
        } else if open.start > 0 {
            self.parts.push_back((open.path, bytes));
        }
    }

    fn fail(&mut self, bytes: usize, error: &io::Error) {
        if self.dropped == 0 {
            // To shim.log, which may be as full.
            let _ = writeln!(io::stderr(), "{}: {error}, dropped", self.path.display());
        }
        self.close();
        self.drop(bytes);
        self.asked_again_at = Some(clock::since_boot() + PAUSE);
    }

    fn drop(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or_default();
        self.position += bytes;
        self.dropped += bytes;
    }
}

fn part_path(head: &Path, start: u64) -> PathBuf {
    let mut path = head.as_os_str().to_owned();
    path.push(format!(".{start:020}"));
    path.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    fn files(dir: &Path) -> Vec<(String, u64)> {
        let mut files: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .flatten()
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn the_beginning_and_the_newest_part_are_kept_within_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::new(dir.path(), "stdout.log", 80_000);
        log.begin();
        assert_eq!(files(dir.path()), [("stdout.log".to_owned(), 0)]);
        for number in 0..100_000 {
            log.write(format!("line {number:06}\n").as_bytes());
        }
        let files = files(dir.path());
        let total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        assert!(total <= 80_000, "{files:?}");
        assert_eq!(total + log.dropped(), 1_200_000);
        let text: String = files
            .iter()
            .map(|(name, _)| fs::read_to_string(dir.path().join(name)).unwrap())
            .collect();
        assert!(text.starts_with("line 000000\n") && text.ends_with("line 099999\n"));
        let last = &files[files.len() - 1].0;
        assert!(last.starts_with("stdout.log.0000"), "{last}");
    }

    #[test]
    fn what_the_disk_does_not_take_is_counted_and_the_rest_keeps_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::new(dir.path(), "stdout.log", 80_000);
        log.write(b"before");
        // As a full disk is: it opens, and takes nothing.
        log.close();
        log.open = Some(Open {
            file: OpenOptions::new().write(true).open("/dev/full").unwrap(),
            start: 6,
            path: dir.path().join("none"),
            room: 1_000,
        });
        log.write(b"lost");
        log.write(b"lost too");
        assert_eq!(log.dropped(), 12);
        log.asked_again_at = None;
        log.write(b"after");
        let name = format!("stdout.log.{:020}", 18);
        let expected = [("stdout.log".to_owned(), 6), (name, 5)];
        assert_eq!(files(dir.path()), expected);
    }
}
