//! How far the events of an attempt were followed, for the worker that goes on with it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::shim::put;

const FILE: &str = "events.position";

/// A position in the events file. Lines before it were followed already; those of the last read of
/// a worker that was killed within it are followed again, which says the same once more.
#[derive(Debug)]
pub struct EventsMark {
    dir: PathBuf,
    /// Up to here a former worker followed it.
    done: u64,
    now: u64,
    written: u64,
}

impl EventsMark {
    /// Of the attempt in this directory.
    pub fn read(dir: &Path) -> Self {
        let text = fs::read_to_string(dir.join(FILE)).unwrap_or_default();
        let done = text.trim().parse().unwrap_or_default();
        Self { dir: dir.to_owned(), done, now: 0, written: done }
    }

    /// A file that was cut off while no worker was there is read from its beginning.
    pub fn check(&mut self, length: u64) {
        if length < self.done {
            self.restart();
        }
    }

    /// Goes over a line that ends here, and says whether it was followed before.
    pub fn pass(&mut self, end: u64) -> bool {
        self.now = end;
        end <= self.done
    }

    /// The file was cut off and is read from its beginning.
    pub fn restart(&mut self) {
        (self.done, self.now) = (0, 0);
        self.write();
    }

    /// Keeps it.
    pub fn write(&mut self) {
        if self.now == self.written || self.now < self.done {
            return;
        }
        self.written = self.now;
        if let Err(error) = put(&self.dir, FILE, self.now.to_string().as_bytes()) {
            let dir = self.dir.display();
            tracing::warn!(%dir, %error, "a later worker would follow events twice");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::EventsMark;

    #[test]
    fn the_next_worker_knows_which_lines_were_followed() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = EventsMark::read(dir.path());
        assert!(!first.pass(10) && !first.pass(20));
        first.write();
        assert!(!first.pass(30));
        let mut second = EventsMark::read(dir.path());
        second.check(40);
        assert!(second.pass(10));
        second.write();
        assert!(second.pass(20) && !second.pass(30));
        second.write();
        let mut third = EventsMark::read(dir.path());
        assert!(third.pass(30));
        third.check(29);
        assert!(!third.pass(10));
    }
}
