//! From a log file to the task's log at the broker.

use std::path::PathBuf;

use asyncflow_sdk::{v1::LogStream, worker::AttemptHandle};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::growing_file::{GrowingFile, Read};

/// One log file of an attempt.
pub struct Tail {
    /// The file.
    pub path: PathBuf,
    /// What it holds.
    pub stream: LogStream,
    /// Unsent bytes that are still sent; the file keeps all.
    pub backlog_max_bytes: u64,
    /// Changes when the file does.
    pub changes: watch::Receiver<()>,
    /// The writer has ended.
    pub ended: CancellationToken,
}

impl Tail {
    /// Sends on what the file gets, to its end. Waits while the broker takes nothing.
    pub async fn run(self, attempt: &AttemptHandle) {
        let path = self.path.clone();
        let opened =
            GrowingFile::open(self.path, self.changes, self.ended, self.backlog_max_bytes).await;
        let read = async {
            let mut file = opened?;
            loop {
                match file.next().await? {
                    Read::Data(data, skipped) => {
                        let skipped = i64::try_from(skipped).unwrap_or(i64::MAX);
                        attempt.write_log(self.stream, data.into(), skipped).await;
                    }
                    Read::Truncated => {}
                    Read::End => return Ok::<_, std::io::Error>(()),
                }
            }
        };
        if let Err(error) = read.await {
            tracing::warn!(path = %path.display(), %error, "log cannot be read");
        }
    }
}
