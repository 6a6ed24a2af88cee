//! How far the events of an attempt were followed, for the worker that goes on with it.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use super::{EVENTS_FILE, Event, LINE_BYTES_MAX, Line, LineSplitter, parse};
use crate::shim::put;

const FILE: &str = "events.position";
/// So far is looked ahead: a program that is gone may have left a file as large as it liked.
const AHEAD_BYTES_MAX: u64 = 64 * 1024 * 1024;

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
    /// Whether the disk did not take it the last time.
    is_refused: bool,
}

impl EventsMark {
    /// Of the attempt in this directory.
    pub fn read(dir: &Path) -> Self {
        let text = fs::read_to_string(dir.join(FILE)).unwrap_or_default();
        let done = text.trim().parse().unwrap_or_default();
        Self { dir: dir.to_owned(), done, now: 0, written: done, is_refused: false }
    }

    /// Whether the program, which is gone, has saved something that no worker has followed. What
    /// cannot be read is not counted, nor what is no plain file, which might have no end.
    pub fn has_saves_ahead(&self) -> bool {
        self.look_ahead().unwrap_or_default()
    }

    fn look_ahead(&self) -> io::Result<bool> {
        let is_save = |line: Line| {
            line.bytes.is_some_and(|bytes| matches!(parse(&bytes), Ok(Some(Event::Save { .. }))))
        };
        // The opening of a pipe would wait for who writes to it.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mut opening = File::options();
        let opening = opening.read(true).custom_flags(flags.bits());
        let mut file = opening.open(self.dir.join(EVENTS_FILE))?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Ok(false);
        }
        // One that was cut off is read from its beginning.
        let is_whole = about.len() >= self.done;
        file.seek(SeekFrom::Start(if is_whole { self.done } else { 0 }))?;
        let mut file = file.take(AHEAD_BYTES_MAX);
        let (mut lines, mut bytes) = (LineSplitter::default(), vec![0; LINE_BYTES_MAX]);
        loop {
            let count = file.read(&mut bytes)?;
            if count == 0 {
                return Ok(lines.finish().is_some_and(is_save));
            }
            if lines.push(&bytes[..count]).into_iter().any(is_save) {
                return Ok(true);
            }
        }
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
        let put = writing.await.unwrap_or_else(|lost| Err(io::Error::other(lost)));
        let was_refused = std::mem::replace(&mut self.is_refused, put.is_err());
        if let Err(error) = put
            && !was_refused
        {
            let dir = self.dir.display();
            tracing::warn!(%dir, %error, "a later worker would follow events twice");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

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

    #[tokio::test]
    async fn saves_ahead_are_seen_in_a_plain_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(EVENTS_FILE);
        let look = || EventsMark::read(dir.path()).has_saves_ahead();
        assert!(!look(), "there is none");
        let save = "{\"event\":\"stage\",\"stage\":\"one\"}\n";
        let chat = "{\"event\":\"progress\",\"percent\":1}\n";
        fs::write(&file, format!("{save}{chat}no event\n")).unwrap();
        assert!(look());
        let mut mark = EventsMark::read(dir.path());
        mark.pass(save.len() as u64);
        mark.write().await;
        assert!(!look(), "it was followed");
        fs::write(&file, format!("{save}{chat}{}", save.trim_end())).unwrap();
        assert!(look(), "the last line needs no end");
        fs::write(&file, chat).unwrap();
        assert!(!look(), "it was cut off");
        fs::write(dir.path().join("other"), save.repeat(2)).unwrap();
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(dir.path().join("other"), &file).unwrap();
        assert!(!look(), "a link is not followed");
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(!look(), "a pipe is not waited for");
    }
}
