//! Reading what a task wrote, over breaks of the connection.

use futures::{Stream, stream};
use tonic::Streaming;

use super::{Client, Reconnects};
use crate::{
    Error,
    v1::{StreamTaskLogsRequest, StreamTaskLogsResponse},
};

struct Following {
    client: Client,
    request: StreamTaskLogsRequest,
    open: Option<Streaming<StreamTaskLogsResponse>>,
    reconnects: Reconnects,
    /// Attempt and position up to which everything was given out.
    seen: (i32, i64),
    /// After a break: first the rest of the attempt that was read then, and the newest after it.
    newest_follows: bool,
}

impl Client {
    /// Streams what a task wrote; with `follow` until the task is terminal. After a break nothing
    /// is given out twice.
    pub fn logs(
        &self,
        request: StreamTaskLogsRequest,
    ) -> impl Stream<Item = Result<StreamTaskLogsResponse, Error>> {
        let following = Following {
            client: self.clone(),
            request,
            open: None,
            reconnects: Reconnects::new(self),
            seen: (0, 0),
            newest_follows: false,
        };
        stream::try_unfold(following, |mut following| async move {
            let chunk = following.next().await?;
            Ok(chunk.map(|chunk| (chunk, following)))
        })
    }
}

impl Following {
    async fn next(&mut self) -> Result<Option<StreamTaskLogsResponse>, Error> {
        loop {
            match self.message().await {
                Ok(None) if std::mem::take(&mut self.newest_follows) => {
                    (self.open, self.request.attempt) = (None, 0);
                }
                Ok(None) => return Ok(None),
                Ok(Some(chunk)) => {
                    self.reconnects.succeeded();
                    if let Some(chunk) = unseen(&mut self.seen, chunk) {
                        return Ok(Some(chunk));
                    }
                }
                Err(error) => {
                    self.open = None;
                    self.reconnects.failed(error).await?;
                    if self.seen != (0, 0) {
                        // The tail has moved on; what was seen is skipped by position instead.
                        self.request.tail_lines = None;
                        if self.request.attempt == 0 {
                            self.request.attempt = self.seen.0;
                            self.newest_follows = self.request.follow;
                        }
                    }
                }
            }
        }
    }

    async fn message(&mut self) -> Result<Option<StreamTaskLogsResponse>, Error> {
        let stream = match &mut self.open {
            Some(stream) => stream,
            closed => {
                let mut broker = self.client.broker.clone();
                let stream = broker.stream_task_logs(self.request.clone()).await?.into_inner();
                closed.insert(stream)
            }
        };
        Ok(stream.message().await?)
    }
}

/// Cuts off what lies before `seen` and moves `seen` on; `None` when nothing is left.
fn unseen(
    seen: &mut (i32, i64),
    mut chunk: StreamTaskLogsResponse,
) -> Option<StreamTaskLogsResponse> {
    let end = chunk.offset + i64::try_from(chunk.data.len()).unwrap_or(i64::MAX);
    if (chunk.attempt, end) <= *seen {
        return None;
    }
    if chunk.attempt == seen.0 && chunk.offset < seen.1 {
        let known = usize::try_from(seen.1 - chunk.offset).unwrap_or(0);
        chunk.data = chunk.data.split_off(known);
        chunk.offset = seen.1;
    }
    *seen = (chunk.attempt, end);
    Some(chunk)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::{StreamTaskLogsResponse, unseen};

    fn chunk(attempt: i32, offset: i64, data: &'static str) -> StreamTaskLogsResponse {
        StreamTaskLogsResponse {
            attempt,
            offset,
            data: data.as_bytes().to_vec().into(),
            ..StreamTaskLogsResponse::default()
        }
    }

    #[test]
    fn after_a_reconnect_only_the_new_part_is_given_out() {
        let mut seen = (0, 0);
        assert_eq!(unseen(&mut seen, chunk(1, 0, "abc")).unwrap().data[..], *b"abc");
        assert!(unseen(&mut seen, chunk(1, 0, "abc")).is_none());
        let rest = unseen(&mut seen, chunk(1, 2, "cde")).unwrap();
        assert_eq!((rest.offset, &rest.data[..]), (3, &b"de"[..]));
        assert_eq!(unseen(&mut seen, chunk(2, 0, "x")).unwrap().data[..], *b"x");
        assert!(unseen(&mut seen, chunk(1, 9, "late")).is_none());
    }
}
