//! StreamTaskLogs: what a task wrote, and what it goes on writing.

use std::time::Duration;

use asyncflow_core::id::TaskId;
use asyncflow_proto::v1;
use asyncflow_store::{GetError, LogChunk, Parts, Store};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{get, missing, task_id};
use crate::{
    broker::Broker,
    convert::{self, log},
    error::RpcError,
    feed::Subscription,
    rpc::BoxStream,
    watch::tell,
};

/// Bytes per read.
const READ_BYTES: usize = 256 * 1_024;
/// Answers that a slow reader may leave lying; it then holds up nobody but itself.
const BUFFER: usize = 16;
/// A reader who takes none of them for so long is sent away; a person may look at a page meanwhile.
const STALL_MAX: Duration = Duration::from_secs(600);
/// How often it looks when nobody rings.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

pub async fn stream_task_logs(
    broker: &Broker,
    request: v1::StreamTaskLogsRequest,
) -> Result<BoxStream<v1::StreamTaskLogsResponse>, RpcError> {
    let id = task_id(&request.task_id, "task_id")?;
    if request.attempt < 0 {
        return Err(RpcError::field("attempt", format!("{} is negative", request.attempt)));
    }
    if let Some(lines) = request.tail_lines.filter(|lines| *lines < 0) {
        return Err(RpcError::field("tail_lines", format!("{lines} is negative")));
    }
    let task = get(broker, &id, Parts::NONE).await?.task;
    let (sender, receiver) = mpsc::channel(BUFFER);
    let reader = LogReader {
        store: broker.store.clone(),
        attempt: if request.attempt > 0 { request.attempt } else { task.attempt },
        later_attempts: request.attempt == 0,
        id,
        offset: 0,
        sender,
    };
    let feed = if request.follow { Some(broker.feed.subscribe().await?) } else { None };
    let draining = broker.draining.clone();
    broker.spawn(reader.run(feed, request.tail_lines, draining));
    Ok(ReceiverStream::new(receiver).boxed())
}

struct LogReader {
    store: Store,
    id: TaskId,
    attempt: i32,
    /// Goes on into the attempts that follow.
    later_attempts: bool,
    offset: i64,
    sender: mpsc::Sender<Result<v1::StreamTaskLogsResponse, Status>>,
}

impl LogReader {
    /// Follows where there is a feed of changes to follow by.
    async fn run(
        mut self,
        feed: Option<Subscription>,
        tail_lines: Option<i32>,
        draining: CancellationToken,
    ) {
        let sender = self.sender.clone();
        let outcome = tokio::select! {
            outcome = self.read(feed, tail_lines) => outcome,
            () = draining.cancelled() => Err(RpcError::ShuttingDown),
            () = sender.closed() => return,
        };
        if let Err(error) = outcome {
            tell(&sender, error, &draining).await;
        }
    }

    async fn read(
        &mut self,
        mut feed: Option<Subscription>,
        tail_lines: Option<i32>,
    ) -> Result<(), RpcError> {
        let mut rung = self.store.wake().subscribe(&log::topic(&self.id));
        if let Some(lines) = tail_lines {
            self.send_tail(usize::try_from(lines).unwrap_or(0)).await?;
        }
        let mut last_look = false;
        loop {
            // The state is read before the log: what ended has written everything before.
            let found = self.store.get(&self.id, Parts::NONE).await;
            let task = found.map_err(|error: GetError| missing(&self.id, error))?.task;
            self.send_new().await?;
            let is_over = !task.state.is_leased() && task.attempt == self.attempt;
            let Some(feed) = &mut feed else { return Ok(()) };
            if task.attempt > self.attempt {
                if !self.later_attempts {
                    return Ok(());
                }
                (self.attempt, self.offset) = (self.attempt + 1, 0);
                continue;
            }
            let ends = task.state.is_terminal() || (is_over && !self.later_attempts);
            if ends && last_look {
                return Ok(());
            }
            // The end of a log may come a moment after the end of its attempt.
            last_look = ends;
            let pause = if ends { POLL_INTERVAL / 4 } else { POLL_INTERVAL };
            tokio::select! {
                () = rung.rung() => {}
                () = changed(feed, &self.id), if !ends => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn send_new(&mut self) -> Result<(), RpcError> {
        while let Some(chunks) = self.next().await? {
            for chunk in chunks {
                self.send(chunk).await?;
            }
        }
        Ok(())
    }

    /// Only the last lines of what is there; the middle of it is read but not kept.
    async fn send_tail(&mut self, lines: usize) -> Result<(), RpcError> {
        let mut kept: Vec<LogChunk> = Vec::new();
        while let Some(chunks) = self.next().await? {
            kept.extend(chunks);
            cut_to_last_lines(&mut kept, lines);
        }
        for chunk in kept {
            self.send(chunk).await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Vec<LogChunk>>, RpcError> {
        let page = self.store.read_log(&self.id, self.attempt, self.offset, READ_BYTES).await?;
        self.offset = page.next_offset;
        Ok(Some(page.chunks).filter(|chunks| !chunks.is_empty()))
    }

    async fn send(&self, chunk: LogChunk) -> Result<(), RpcError> {
        offer(&self.sender, convert::log::chunk(chunk)).await
    }
}

/// Waits for room. Cancel safe.
///
/// # Errors
/// `SlowReader`.
async fn offer<T>(sender: &mpsc::Sender<Result<T, Status>>, answer: T) -> Result<(), RpcError> {
    match tokio::time::timeout(STALL_MAX, sender.send(Ok(answer))).await {
        // A reader that left is seen by `run`.
        Ok(_) => Ok(()),
        Err(_) => Err(RpcError::SlowReader),
    }
}

/// Waits until the task may have changed. Cancel safe.
async fn changed(feed: &mut Subscription, id: &TaskId) {
    // Having missed some it has to look; a closed feed ends with the broker, which ends this too.
    while let Ok(row) = feed.rows.recv().await {
        if row.changes.iter().any(|change| change.task_id == *id) {
            return;
        }
    }
}

/// Drops everything before the last `lines` lines; a line that has no end yet counts.
fn cut_to_last_lines(chunks: &mut Vec<LogChunk>, lines: usize) {
    let mut left = lines;
    for at in (0..chunks.len()).rev() {
        let is_end = at + 1 == chunks.len();
        let bytes = &chunks[at].bytes;
        // The line break at the very end ends the last line, it does not begin another.
        let searched = bytes.len() - usize::from(is_end && bytes.last() == Some(&b'\n'));
        for position in (0..searched).rev() {
            if bytes[position] != b'\n' {
                continue;
            }
            left = left.saturating_sub(1);
            if left == 0 {
                chunks[at].bytes.drain(..=position);
                chunks[at].offset += position as i64 + 1;
                chunks.drain(..at);
                return;
            }
        }
    }
    if lines == 0 {
        chunks.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use asyncflow_store::LogStream;

    use super::*;

    fn tail(texts: &[&str], lines: usize) -> (String, Option<i64>) {
        let mut offset = 0;
        let mut chunks = Vec::new();
        for text in texts {
            chunks.push(LogChunk {
                task_id: "train-1-0000000000001".parse().unwrap(),
                attempt: 1,
                stream: LogStream::Stdout,
                offset,
                time_ms: 0,
                bytes: text.as_bytes().to_vec(),
            });
            offset += text.len() as i64;
        }
        cut_to_last_lines(&mut chunks, lines);
        let first = chunks.first().map(|chunk| chunk.offset);
        let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.bytes).collect();
        (String::from_utf8(bytes).unwrap(), first)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_takes_nothing_is_sent_away() {
        let (sender, mut receiver) = mpsc::channel(1);
        offer(&sender, 1).await.unwrap();
        assert!(matches!(offer(&sender, 2).await, Err(RpcError::SlowReader)));
        let mut third = std::pin::pin!(offer(&sender, 3));
        let waiting = tokio::time::timeout(STALL_MAX / 2, &mut third).await;
        assert!(waiting.is_err(), "there is no room yet");
        assert_eq!(receiver.recv().await.unwrap().unwrap(), 1);
        third.await.unwrap();
        drop(receiver);
        offer(&sender, 4).await.unwrap();
    }

    #[test]
    fn the_last_lines_are_kept_over_borders_of_chunks() {
        assert_eq!(tail(&["a\nb", "b\nc\n"], 2), ("bb\nc\n".to_owned(), Some(2)));
        assert_eq!(tail(&["a\nb", "b\nc"], 1), ("c".to_owned(), Some(5)));
        assert_eq!(tail(&["a\n", "b\n"], 9), ("a\nb\n".to_owned(), Some(0)));
        assert_eq!(tail(&["a\n"], 0).0, "");
    }
}
