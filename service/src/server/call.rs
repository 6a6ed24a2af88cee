//! The way of one call through the server, in the order in which it is read here.

use super::{
    body::{AnswerBody, Record},
    deadline::Deadline,
    gate::Gates,
    remap::remap,
    trace::TraceContext,
};
use crate::{
    auth::{Authenticator, Identity},
    status,
};
use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tower::{Layer, Service, ServiceExt};
use tracing::{Instrument, Span};

/// Anybody may ask for health: load balancers and probes have no token, and it costs nothing.
const OPEN_PREFIX: &str = "/grpc.health.v1.Health/";

/// What all calls share.
pub(super) struct CallShared {
    authenticator: Authenticator,
    gates: Gates,
    stop: CancellationToken,
}

impl CallShared {
    pub(super) fn new(authenticator: Authenticator, gates: Gates, stop: CancellationToken) -> Self {
        Self { authenticator, gates, stop }
    }

    async fn answer<S: Inner>(
        &self,
        inner: S,
        request: Request<Body>,
        deadline: Deadline,
    ) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let mut record = Record::begin(&path);
        let trace = TraceContext::from_headers(request.headers());
        let span = trace.span(&path);
        let handled = self.admit_and_handle(inner, request, deadline, trace.clone());
        let (mut response, place) = match handled.instrument(span.clone()).await {
            Ok((response, place)) => (response, Some(place)),
            Err(status) => (status.into_http(), None),
        };
        if let Some(code) = remap(response.headers_mut()) {
            record.set_code(code);
        }
        trace.write_to(response.headers_mut());
        let stop = self.stop.clone();
        response.map(|body| Body::new(AnswerBody::new(body, record, span, stop, place)))
    }

    async fn admit_and_handle<S: Inner>(
        &self,
        inner: S,
        mut request: Request<Body>,
        deadline: Deadline,
        trace: TraceContext,
    ) -> Result<(Response<Body>, OwnedSemaphorePermit), Status> {
        let path = request.uri().path().to_owned();
        let identity = self.identify(&path, &request)?;
        Span::current().record("caller", &*identity.name);
        let expiry = deadline.expiry()?;
        request.extensions_mut().insert(identity);
        request.extensions_mut().insert(trace);

        let handled = async {
            let place = self.gates.enter(&path).await?;
            match AssertUnwindSafe(inner.oneshot(request)).catch_unwind().await {
                Ok(Ok(response)) => Ok((response, place)),
                Err(_panic) => Err(status::panicked()),
            }
        };
        tokio::select! {
            biased;
            answer = handled => answer,
            () = expiry => Err(status::deadline_exceeded()),
            () = self.stop.cancelled() => Err(status::stopping()),
        }
    }

    fn identify(&self, path: &str, request: &Request<Body>) -> Result<Identity, Status> {
        if path.starts_with(OPEN_PREFIX) {
            return Ok(Identity::anonymous());
        }
        self.authenticator.identify(request.headers())
    }
}

/// The routes of tonic, as this module needs them.
pub(super) trait Inner:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Send
{
}

impl<S> Inner for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Send
{
}

/// Puts [`CallService`] around the routes.
#[derive(Clone)]
pub(super) struct CallLayer {
    shared: Arc<CallShared>,
}

impl CallLayer {
    pub(super) fn new(shared: CallShared) -> Self {
        Self { shared: Arc::new(shared) }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService { inner, shared: Arc::clone(&self.shared) }
    }
}

/// The tower face of [`CallShared::answer`].
#[derive(Clone)]
pub(super) struct CallService<S> {
    inner: S,
    shared: Arc<CallShared>,
}

impl<S: Inner + Clone + 'static> Service<Request<Body>> for CallService<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // `answer` waits for the clone that it uses.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, shared) = (self.inner.clone(), Arc::clone(&self.shared));
        let deadline = Deadline::begin(request.headers());
        async move { Ok(shared.answer(inner, request, deadline).await) }.boxed()
    }
}
