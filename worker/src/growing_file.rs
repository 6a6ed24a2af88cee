//! Reading a file to which somebody else appends.

use std::{io, path::PathBuf, time::Duration};

use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

/// Looks without a wake-up, where inotify does not reach (network file systems).
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Lets a burst of small writes become one read.
const GATHER_TIME: Duration = Duration::from_millis(20);
const READ_BYTES_MAX: usize = 64 * 1024;

/// What a read found.
pub enum Read {
    /// New bytes.
    Data(Vec<u8>),
    /// The file has become shorter; reading goes on from its beginning.
    Truncated,
    /// The writer has ended, and everything was read.
    End,
}

/// A file with a reader's position. It is opened once: what its name points to later is not read.
pub struct GrowingFile {
    file: File,
    position: u64,
    changes: watch::Receiver<()>,
    ended: CancellationToken,
    ended_seen: bool,
}

impl GrowingFile {
    /// Reads until `ended` is cancelled and the end is reached.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn open(
        path: PathBuf,
        changes: watch::Receiver<()>,
        ended: CancellationToken,
    ) -> io::Result<Self> {
        let file = File::open(path).await?;
        let (position, ended_seen) = (0, false);
        Ok(Self { file, position, changes, ended, ended_seen })
    }

    /// What its inode is, to be compared with what the name points to.
    ///
    /// # Errors
    /// What the system says.
    pub async fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.file.metadata().await
    }

    /// Waits for more.
    ///
    /// # Errors
    /// What the system says.
    pub async fn next(&mut self) -> io::Result<Read> {
        loop {
            self.changes.borrow_and_update();
            let length = self.file.metadata().await?.len();
            if length < self.position {
                self.position = 0;
                self.file.rewind().await?;
                return Ok(Read::Truncated);
            }
            let mut data = Vec::with_capacity(READ_BYTES_MAX.min(4_096));
            let limit = u64::try_from(READ_BYTES_MAX).unwrap_or(u64::MAX);
            let count = (&mut self.file).take(limit).read_to_end(&mut data).await?;
            if count > 0 {
                self.position += u64::try_from(count).unwrap_or_default();
                return Ok(Read::Data(data));
            }
            if self.ended_seen {
                return Ok(Read::End);
            }
            self.wait().await;
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.changes.changed() => tokio::select! {
                () = tokio::time::sleep(GATHER_TIME) => {}
                () = self.ended.cancelled() => self.ended_seen = true,
            },
            () = self.ended.cancelled() => self.ended_seen = true,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}
