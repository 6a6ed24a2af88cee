//! How far the events of an attempt were followed, for the worker that goes on with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::EVENTS_FILE;
use crate::shim::put;

const FILE: &str = "events.position";

/// A position in the events file. Lines before it were followed already. It is kept after each read
/// and each save: of a worker that was killed in between the lines since are followed again, which
/// says the same once more.
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

    /// Whether a former worker has followed all that the program has said.
    pub fn is_at_the_end(&self) -> bool {
        let length = fs::metadata(self.dir.join(EVENTS_FILE)).map_or(0, |events| events.len());
        length <= self.done
    }

    /// A file that was cut off while no worker was there is read from its beginning.
    pub async fn check(&mut self, length: u64) {
        if length < self.done {
            self.restart().await;
        }
    }

    /// Goes over a line that ends here, and says whether it was followed before.
    pub fn pass(&mut self, end: u64) -> bool {
        self.now = end;
        end <= self.done
    }

    /// The file was cut off and is read from its beginning.
    pub async fn restart(&mut self) {
        (self.done, self.now) = (0, 0);
        self.write().await;
    }

    /// Keeps it. Not cancel safe: it may be written then, or not.
    pub async fn write(&mut self) {
        if self.now == self.written || self.now < self.done {
            return;
        }
        self.written = self.now;
        let (dir, text) = (self.dir.clone(), self.now.to_string());
        let writing = tokio::task::spawn_blocking(move || put(&dir, FILE, text.as_bytes()));
        if let Err(error) = writing.await.unwrap_or_else(|lost| Err(io::Error::other(lost))) {
            let dir = self.dir.display();
            tracing::warn!(%dir, %error, "a later worker would follow events twice");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::EventsMark;

    #[tokio::test]
    async fn the_next_worker_knows_which_lines_were_followed() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = EventsMark::read(dir.path());
        assert!(!first.pass(10) && !first.pass(20));
        first.write().await;
        assert!(!first.pass(30));
        let mut second = EventsMark::read(dir.path());
        second.check(40).await;
        assert!(second.pass(10));
        second.write().await;
        assert!(second.pass(20) && !second.pass(30));
        second.write().await;
        let mut third = EventsMark::read(dir.path());
        assert!(third.pass(30));
        third.check(29).await;
        assert!(!third.pass(10));
    }
}
