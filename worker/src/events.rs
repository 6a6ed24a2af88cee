//! What a program says in its events file: one JSON object a line, at most 64 KiB.
//!
//! Good lines are applied in their order. Bad ones (not JSON, too long, unknown, a torn last line)
//! are reported in the task's SYSTEM log and skipped, and so is a file that is replaced or cut off.

mod event;
mod lines;
mod mark;

use std::{os::unix::fs::MetadataExt, path::PathBuf};

use asyncflow_sdk::{
    v1::Progress,
    worker::{AttemptHandle, StopReason},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    attempt_service::Registered,
    growing_file::{GrowingFile, Read},
};
#[cfg(feature = "testing")]
pub use event::PROBLEM_BYTES_MAX;
pub use event::{Event, FailureNote, is_about_waiting, parse};
pub use lines::{LINE_BYTES_MAX, Line, LineSplitter};
pub use mark::EventsMark;

/// Where it is, in the attempt's directory.
pub const EVENTS_FILE: &str = "events.jsonl";
/// Bad lines that are reported one by one.
const REPORTS_MAX: u32 = 20;

/// Reads the file to its end and does what it says.
pub async fn follow(
    path: PathBuf,
    changes: watch::Receiver<()>,
    ended: CancellationToken,
    attempt: &AttemptHandle,
    registered: &Registered,
    mark: EventsMark,
) {
    let opened = GrowingFile::open(path.clone(), changes, ended).await;
    let (lines, reports, replaced) = Default::default();
    let mut reader = Reader { attempt, registered, mark, lines, reports, replaced };
    let read = async {
        let mut file = opened?;
        reader.mark.check(file.metadata().await?.len()).await;
        loop {
            match file.next().await? {
                Read::Data(data) => {
                    for line in reader.lines.push(&data) {
                        reader.take(line).await;
                    }
                    reader.mark.write().await;
                }
                Read::Truncated => {
                    reader.lines = LineSplitter::default();
                    reader.mark.restart().await;
                    reader.report("the events file was cut off; it has to be appended to").await;
                }
                Read::End => break,
            }
            reader.check_place(&path, &file).await?;
        }
        reader.check_place(&path, &file).await?;
        if let Some(line) = reader.lines.finish() {
            reader.take(line).await;
        }
        Ok::<_, std::io::Error>(())
    };
    if let Err(error) = read.await {
        reader.report(&format!("the events file cannot be read: {error}")).await;
    }
}

struct Reader<'a> {
    attempt: &'a AttemptHandle,
    registered: &'a Registered,
    mark: EventsMark,
    lines: LineSplitter,
    reports: u32,
    replaced: bool,
}

impl Reader<'_> {
    async fn report(&mut self, what: &str) {
        self.reports += 1;
        metrics::counter!("asyncflow_worker_bad_events_total").increment(1);
        match self.reports {
            1..REPORTS_MAX => self.attempt.log_system(what).await,
            REPORTS_MAX => self.attempt.log_system("further bad events are not reported").await,
            _ => {}
        }
    }

    /// The name must still lead to the file that was made; a symbolic link is never followed.
    async fn check_place(&mut self, path: &PathBuf, file: &GrowingFile) -> std::io::Result<()> {
        if self.replaced {
            return Ok(());
        }
        let own = file.metadata().await?;
        let same = tokio::fs::symlink_metadata(path)
            .await
            .is_ok_and(|found| (found.dev(), found.ino()) == (own.dev(), own.ino()));
        if !same {
            self.replaced = true;
            self.report("the events file was replaced; what is written to the new one is not read")
                .await;
        }
        Ok(())
    }

    async fn take(&mut self, line: Line) {
        let number = line.number;
        let was_done = self.mark.pass(line.end);
        let parsed = match &line.bytes {
            Some(bytes) => parse(bytes),
            None => Err(format!("longer than {LINE_BYTES_MAX} bytes")),
        };
        let problem = match parsed {
            Ok(None) => None,
            Ok(Some(event)) if was_done && !event.is_only_remembered() => None,
            Ok(Some(event)) => self.apply(event).await.err(),
            Err(problem) => Some(problem),
        };
        if let Some(problem) = problem {
            if line.bytes.as_deref().is_some_and(is_about_waiting) {
                self.registered.set_bad_wait(format!("events line {number}: {problem}"));
            }
            if !was_done {
                self.report(&format!("events line {number}: {problem}; it is skipped")).await;
            }
        }
    }

    async fn apply(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Progress(percent, message) => {
                let message = message.unwrap_or_default();
                self.attempt.report(Progress { percent, message, ..Progress::default() });
            }
            Event::Metrics(values) => self.attempt.metrics(values),
            Event::Result(content) => self.registered.set_result(content),
            Event::Wait(wait_for) => self.registered.set_wait_for(wait_for),
            Event::HandOver(hand_over) => self.registered.set_hand_over(hand_over),
            Event::Failure(note) => self.registered.set_failure(note),
            Event::Save { stage, context } => {
                let saved = self.attempt.save_context(stage.as_deref(), context).await;
                // Before the next save: who goes on after a kill would save this one upon that.
                self.mark.write().await;
                if let Err(error) = saved
                    && self.attempt.should_stop() < Some(StopReason::LeaseLost)
                {
                    return Err(format!("not saved: {error}"));
                }
            }
        }
        Ok(())
    }
}
