//! The body of an answer: remaps and counts the status in its trailers, holds the call's place
//! until the end, and ends streams when the server stops.

use super::remap::remap;
use crate::{clock::Stopwatch, status};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status, body::Body};
use tracing::Span;

/// Counts a call once: by the code that was sent, or as cancelled when the caller went away.
pub(super) struct Record {
    method: String,
    code: Option<Code>,
    watch: Stopwatch,
}

impl Record {
    pub(super) fn begin(path: &str) -> Self {
        Self { method: path.to_owned(), code: None, watch: Stopwatch::start() }
    }

    pub(super) fn set_code(&mut self, code: Code) {
        self.code = Some(code);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        // Whoever is not known may not make labels: any path can be called.
        let method = match code {
            Code::Unimplemented | Code::Unauthenticated => "other".to_owned(),
            _ => std::mem::take(&mut self.method),
        };
        let elapsed = self.watch.elapsed().as_secs_f64();
        let labels = [("method", method), ("code", format!("{code:?}"))];
        metrics::counter!("asyncflow_grpc_calls_total", &labels).increment(1);
        metrics::histogram!("asyncflow_grpc_call_seconds", &labels[..1]).record(elapsed);
    }
}

/// See the module.
pub(super) struct AnswerBody {
    inner: Body,
    record: Record,
    span: Span,
    stop: CancellationToken,
    stopped: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    ended: bool,
    _place: Option<OwnedSemaphorePermit>,
}

impl AnswerBody {
    pub(super) fn new(
        inner: Body,
        record: Record,
        span: Span,
        stop: CancellationToken,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { inner, record, span, stop, stopped: None, ended: false, _place: place }
    }

    /// Only an answer that waits asks for the stop, so that unary calls pay nothing for it.
    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stop = &self.stop;
        let stopped = self.stopped.get_or_insert_with(|| Box::pin(stop.clone().cancelled_owned()));
        stopped.as_mut().poll(cx)
    }
}

impl HttpBody for AnswerBody {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let polled = {
            let _entered = this.span.enter();
            Pin::new(&mut this.inner).poll_frame(cx)
        };
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(code) = frame.trailers_mut().and_then(remap) {
                    this.record.set_code(code);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(other) => Poll::Ready(other),
            Poll::Pending => {
                std::task::ready!(this.poll_stopped(cx));
                this.ended = true;
                this.record.set_code(Code::Unavailable);
                let mut trailers = HeaderMap::new();
                status::stopping().add_header(&mut trailers)?;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
