//! What an attempt writes, on its way to the broker: batched, in order, with back-pressure.

use std::{sync::Arc, time::Duration};

use asyncflow_proto::time::timestamp;
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::link::{Calls, Link};
use crate::{
    Error,
    v1::{Lease, LogChunk, LogStream, PushTaskLogsRequest},
};

/// Pieces that may wait in memory for one attempt.
const QUEUE_MAX: usize = 32;
/// Largest piece.
pub(super) const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// A call holds at most 1 MiB; some room is left for the frame around it.
const CALL_BYTES_MAX: usize = 768 * 1024;
const BATCH_WINDOW: Duration = Duration::from_millis(100);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A piece of a log, or a hole in it.
pub(super) struct Piece {
    pub stream: LogStream,
    pub data: Bytes,
    /// Bytes before `data` that are left out.
    pub skipped: i64,
    pub time_ms: i64,
}

/// Remembers across processes what of an attempt's log was sent. A call is written down before it
/// is made: whoever comes after a process that died within it repeats the very same chunks, which
/// the broker knows by their offsets. It is called on threads on which it may block.
pub trait LogKeeper: Send + 'static {
    /// The chunks that a former process was about to send, with nothing sent after them.
    fn unconfirmed(&mut self) -> Vec<LogChunk>;
    /// These are sent now.
    fn sending(&mut self, chunks: &[LogChunk]);
}

pub(super) fn queue() -> (mpsc::Sender<Piece>, mpsc::Receiver<Piece>) {
    mpsc::channel(QUEUE_MAX)
}

/// Sends on what comes in; after `end` only what is queued by then. Ends early when the broker
/// refuses it for good.
pub(super) async fn ship(
    link: Arc<Link>,
    lease: Lease,
    traceparent: Arc<str>,
    mut queue: mpsc::Receiver<Piece>,
    end: CancellationToken,
    mut keeper: Option<Box<dyn LogKeeper>>,
) {
    let mut offset = 0;
    let unconfirmed = ask(&mut keeper, |keeper| keeper.unconfirmed()).await.unwrap_or_default();
    if let Some(last) = unconfirmed.last() {
        offset = last.offset + i64::try_from(last.data.len()).unwrap_or(i64::MAX);
        if let Err(error) = push(link.in_trace(&traceparent), &unconfirmed).await {
            tracing::debug!(%error, "logs refused");
            return;
        }
    }
    while let Some(first) = next(&mut queue, &end).await {
        tokio::select! {
            () = tokio::time::sleep(BATCH_WINDOW) => {}
            () = end.cancelled() => {}
        }
        let mut chunks = vec![chunk(&lease, &mut offset, first)];
        let mut bytes = chunks[0].data.len();
        while bytes < CALL_BYTES_MAX - CHUNK_BYTES_MAX
            && let Ok(piece) = queue.try_recv()
        {
            bytes += piece.data.len();
            chunks.push(chunk(&lease, &mut offset, piece));
        }
        // Their bytes are shared.
        let sending = chunks.clone();
        ask(&mut keeper, move |keeper| keeper.sending(&sending)).await;
        if let Err(error) = push(link.in_trace(&traceparent), &chunks).await {
            tracing::debug!(%error, "logs refused");
            return;
        }
    }
}

/// Asks the keeper, if there is one, on a thread of its own: a disk may take its time, and nothing
/// else of the worker is to wait for it.
async fn ask<T: Send + 'static>(
    keeper: &mut Option<Box<dyn LogKeeper>>,
    what: impl FnOnce(&mut dyn LogKeeper) -> T + Send + 'static,
) -> Option<T> {
    let mut own = keeper.take()?;
    let asking = tokio::task::spawn_blocking(move || {
        let answer = what(&mut *own);
        (own, answer)
    });
    let (own, answer) = asking.await.ok()?;
    *keeper = Some(own);
    Some(answer)
}

async fn next(queue: &mut mpsc::Receiver<Piece>, end: &CancellationToken) -> Option<Piece> {
    tokio::select! {
        biased;
        piece = queue.recv() => piece,
        () = end.cancelled() => {
            queue.close();
            queue.recv().await
        }
    }
}

fn chunk(lease: &Lease, offset: &mut i64, piece: Piece) -> LogChunk {
    let start = *offset + piece.skipped;
    *offset = start + i64::try_from(piece.data.len()).unwrap_or(i64::MAX);
    LogChunk {
        lease: Some(lease.clone()),
        stream: piece.stream.into(),
        offset: start,
        data: piece.data,
        time: Some(timestamp(piece.time_ms)),
    }
}

async fn push(calls: Calls<'_>, chunks: &[LogChunk]) -> Result<(), Error> {
    calls
        .call_until_answered(
            CALL_TIMEOUT,
            |session_id| PushTaskLogsRequest { session_id, chunks: chunks.to_vec() },
            |mut broker, request| async move { broker.push_task_logs(request).await },
        )
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::mpsc;

    use super::*;

    /// A disk that writes when it is told to.
    struct Slow(mpsc::Receiver<()>);

    impl LogKeeper for Slow {
        fn unconfirmed(&mut self) -> Vec<LogChunk> {
            Vec::new()
        }

        fn sending(&mut self, _: &[LogChunk]) {
            self.0.recv_timeout(Duration::from_secs(60)).unwrap();
        }
    }

    #[tokio::test]
    async fn nothing_waits_for_the_disk_but_the_log() {
        let (write, told) = mpsc::channel();
        let mut keeper: Option<Box<dyn LogKeeper>> = Some(Box::new(Slow(told)));
        let keeping = ask(&mut keeper, |keeper| keeper.sending(&[]));
        let (kept, ()) = tokio::join!(keeping, async { write.send(()).unwrap() });
        assert!(kept.is_some() && keeper.is_some());
    }
}
