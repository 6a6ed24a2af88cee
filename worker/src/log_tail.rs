//! From a log's files to the task's log at the broker.

use std::{path::PathBuf, time::Duration};

use asyncflow_sdk::{v1::LogStream, worker::AttemptHandle};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::log_files::LogReader;

/// Looks without a wake-up, where inotify does not reach (network file systems).
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Lets a burst of small writes become one read.
const GATHER_TIME: Duration = Duration::from_millis(20);

/// One log of an attempt.
pub struct Tail {
    /// Where its files are.
    pub dir: PathBuf,
    /// What the first of them is called.
    pub name: &'static str,
    /// What it holds.
    pub stream: LogStream,
    /// What of it is sent already.
    pub position: u64,
    /// Unsent bytes that are still sent; the files keep all that they may.
    pub backlog_max_bytes: u64,
    /// Changes when the files do.
    pub changes: watch::Receiver<()>,
    /// The writer has ended.
    pub ended: CancellationToken,
}

impl Tail {
    /// Sends on what the log gets, to its end. Waits while the broker takes nothing.
    pub async fn run(mut self, attempt: &AttemptHandle) {
        let (position, backlog) = (self.position, self.backlog_max_bytes);
        let mut reader = LogReader::new(&self.dir, self.name, position, backlog);
        let mut is_last_look = false;
        loop {
            self.changes.borrow_and_update();
            let reading = tokio::task::spawn_blocking(move || {
                let read = reader.next();
                (reader, read)
            });
            let Ok((same, read)) = reading.await else { return };
            reader = same;
            match read {
                Ok(Some((data, skipped))) => {
                    let skipped = i64::try_from(skipped).unwrap_or(i64::MAX);
                    attempt.write_log(self.stream, data.into(), skipped).await;
                }
                Ok(None) if is_last_look => return,
                Ok(None) => is_last_look = self.wait().await,
                Err(error) => {
                    let dir = self.dir.display();
                    return tracing::warn!(%dir, log = self.name, %error, "log cannot be read");
                }
            }
        }
    }

    /// Waits for more; whether there will be none after the next look.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            _ = self.changes.changed() => tokio::select! {
                () = tokio::time::sleep(GATHER_TIME) => false,
                () = self.ended.cancelled() => true,
            },
            () = self.ended.cancelled() => true,
            () = tokio::time::sleep(LOOK_INTERVAL) => false,
        }
    }
}
