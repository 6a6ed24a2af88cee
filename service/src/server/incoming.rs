//! Connections as they are accepted, before any of the HTTP library's own limits begins to count.

use futures::{Stream, StreamExt};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tonic::transport::server::Connected;

/// How many bytes are waited for: those by which HTTP/2 is told from HTTP/1.1. No request of
/// either is shorter.
const FIRST_BYTES: usize = 24;
/// How long. The library looks at them without a clock of its own.
const FIRST_BYTES_MAX: Duration = Duration::from_secs(10);
/// After an accept that failed, mostly for want of descriptors: the next one would fail, too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Ends connections that do not begin to talk, and accepts no more in a hot loop when accepting
/// fails.
pub(super) fn guarded<IO>(
    incoming: impl Stream<Item = io::Result<IO>>,
) -> impl Stream<Item = io::Result<Talking<IO>>> {
    incoming.then(|accepted| async {
        if accepted.is_err() {
            sleep(ACCEPT_PAUSE).await;
        }
        accepted.map(Talking::new)
    })
}

/// A connection that has to begin to talk in time.
pub(super) struct Talking<IO> {
    io: IO,
    read: usize,
    /// Until it has.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<IO> Talking<IO> {
    fn new(io: IO) -> Self {
        Self { io, read: 0, patience: Some(Box::pin(sleep(FIRST_BYTES_MAX))) }
    }
}

impl<IO: Connected> Connected for Talking<IO> {
    type ConnectInfo = IO::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Talking<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        if let Some(patience) = &mut self.patience {
            if polled.is_pending() {
                ready!(patience.as_mut().poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.read += buffer.filled().len() - before;
            if self.read >= FIRST_BYTES {
                self.patience = None;
            }
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Talking<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::timeout,
    };

    /// What reading it to the end comes to, when the other side sends this and stays.
    async fn read_of(sent: &[u8]) -> io::Result<usize> {
        let (mut client, server) = duplex(64);
        client.write_all(sent).await.unwrap();
        let mut server = Talking::new(server);
        let reading = async { server.read_to_end(&mut Vec::new()).await };
        let leaving = async {
            sleep(FIRST_BYTES_MAX * 2).await;
            drop(client);
        };
        tokio::join!(reading, leaving).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_to_begin_to_talk() {
        for short in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
            assert_eq!(read_of(short).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        assert_eq!(read_of(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap(), 27);
    }

    #[tokio::test(start_paused = true)]
    async fn accepts_that_fail_are_not_repeated_at_once() {
        let failing = || {
            let accepts = futures::stream::repeat_with(|| Err::<(), _>(io::Error::other("no")));
            guarded(accepts.take(5)).count()
        };
        assert!(timeout(ACCEPT_PAUSE * 4, failing()).await.is_err());
        assert_eq!(timeout(ACCEPT_PAUSE * 6, failing()).await.unwrap(), 5);
    }
}
