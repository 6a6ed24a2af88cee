//! Reading what a shim keeps of one log: the beginning, and the parts after it.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

const READ_BYTES_MAX: usize = 64 * 1024;

struct Part {
    start: u64,
    path: PathBuf,
}

/// The parts that are there, in their order.
fn parts(dir: &Path, name: &str) -> io::Result<Vec<Part>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let rest = file_name.to_str().and_then(|file_name| file_name.strip_prefix(name));
        let start = match rest {
            Some("") => Some(0),
            Some(rest) => rest.strip_prefix('.').and_then(|digits| digits.parse().ok()),
            None => None,
        };
        parts.extend(start.map(|start| Part { start, path: entry.path() }));
    }
    parts.sort_by_key(|part| part.start);
    Ok(parts)
}

/// The last bytes of a log, at most so many.
pub fn last_bytes(dir: &Path, name: &str, bytes_max: u64) -> Vec<u8> {
    let mut reader = LogReader::new(dir, name, 0, bytes_max);
    let mut found = Vec::new();
    while let Ok(Some((data, _))) = reader.next() {
        found.extend(data);
    }
    found
}

/// Reads a log from a position on, and knows what it missed.
pub struct LogReader {
    dir: PathBuf,
    name: String,
    position: u64,
    backlog_max_bytes: u64,
    open: Option<(u64, File)>,
}

impl LogReader {
    /// When more than `backlog_max_bytes` are unread, the oldest of them are skipped.
    pub fn new(dir: &Path, name: &str, position: u64, backlog_max_bytes: u64) -> Self {
        let (dir, name) = (dir.to_owned(), name.to_owned());
        Self { dir, name, position, backlog_max_bytes, open: None }
    }

    /// New bytes, and how many before them were left out; `None` when there are none now. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn next(&mut self) -> io::Result<Option<(Vec<u8>, u64)>> {
        let parts = parts(&self.dir, &self.name)?;
        let mut skipped = self.skip_backlog(&parts)?;
        loop {
            let data = self.read()?;
            if !data.is_empty() {
                self.position += u64::try_from(data.len()).unwrap_or_default();
                return Ok(Some((data, skipped)));
            }
            // The next part was there before this one was found to be read to its end.
            let begun = self.open.as_ref().map_or(0, |(start, _)| *start);
            let next = match &self.open {
                Some(_) => parts.iter().find(|part| part.start > begun),
                None => {
                    let holds = parts.iter().rfind(|part| part.start <= self.position);
                    holds.or_else(|| parts.first())
                }
            };
            let Some(part) = next else { return Ok(None) };
            match File::open(&part.path) {
                Ok(file) => {
                    skipped += self.go_to(part.start);
                    self.open = Some((part.start, file));
                }
                // It was deleted just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Goes on at a part that begins later, and gives what lies between.
    fn go_to(&mut self, start: u64) -> u64 {
        let skipped = start.saturating_sub(self.position);
        self.position += skipped;
        skipped
    }

    fn skip_backlog(&mut self, parts: &[Part]) -> io::Result<u64> {
        let Some(last) = parts.last() else { return Ok(0) };
        let length = match fs::metadata(&last.path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let from = (last.start + length).saturating_sub(self.backlog_max_bytes);
        if from <= self.position {
            return Ok(0);
        }
        self.open = None;
        Ok(self.go_to(from))
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        if let Some((start, file)) = &mut self.open {
            file.seek(SeekFrom::Start(self.position - *start))?;
            let limit = u64::try_from(READ_BYTES_MAX).unwrap_or(u64::MAX);
            file.take(limit).read_to_end(&mut data)?;
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;
    use crate::shim::LogWriter;

    fn all(reader: &mut LogReader) -> (Vec<u8>, u64) {
        let (mut bytes, mut skipped) = (Vec::new(), 0);
        while let Some((data, hole)) = reader.next().unwrap() {
            bytes.extend(data);
            skipped += hole;
        }
        (bytes, skipped)
    }

    #[test]
    fn a_reader_that_keeps_up_misses_nothing_over_all_parts() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::new(dir.path(), "stdout.log", 80_000);
        let mut reader = LogReader::new(dir.path(), "stdout.log", 0, u64::MAX);
        let (mut written, mut read) = (Vec::new(), Vec::new());
        for number in 0..10_000 {
            let line = format!("line {number:06}\n");
            log.write(line.as_bytes());
            written.extend(line.into_bytes());
            if number % 700 == 0 {
                let (bytes, skipped) = all(&mut reader);
                assert_eq!(skipped, 0);
                read.extend(bytes);
            }
        }
        read.extend(all(&mut reader).0);
        assert!(read == written);
        // Another one goes on where this one was.
        log.write(b"more");
        let mut next = LogReader::new(dir.path(), "stdout.log", 120_000, u64::MAX);
        assert_eq!(all(&mut next), (b"more".to_vec(), 0));
    }

    #[test]
    fn what_is_gone_or_over_the_backlog_is_a_hole_of_known_size() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::new(dir.path(), "stderr.log", 80_000);
        (0..20_000).for_each(|number| log.write(format!("line {number:06}\n").as_bytes()));
        let mut late = LogReader::new(dir.path(), "stderr.log", 0, u64::MAX);
        let (bytes, skipped) = all(&mut late);
        assert_eq!(bytes.len() as u64 + skipped, 240_000);
        assert_eq!(skipped, log.dropped());
        let mut short = LogReader::new(dir.path(), "stderr.log", 0, 1_000);
        let (bytes, skipped) = all(&mut short);
        assert_eq!((bytes.len(), skipped), (1_000, 239_000));
        assert!(last_bytes(dir.path(), "stderr.log", 24).ends_with(b"line 019999\n"));
        assert!(last_bytes(dir.path(), "none.log", 24).is_empty());
    }
}
