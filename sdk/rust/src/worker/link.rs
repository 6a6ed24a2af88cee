//! The way to the brokers: one of several channels, and the session that every call carries.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

use super::WorkerOptions;
use crate::{
    Error, channel::AuthorizedChannel, clock::jittered, trace,
    v1::worker_service_client::WorkerServiceClient,
};

pub(super) type Broker = WorkerServiceClient<AuthorizedChannel>;

const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What a registration gave.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub id: String,
    pub heartbeat_interval: Duration,
    pub lease_ttl: Duration,
}

/// The brokers and the session in force.
pub(super) struct Link {
    brokers: Vec<Broker>,
    current: AtomicUsize,
    session: watch::Sender<Option<Arc<Session>>>,
}

impl Link {
    pub fn open(options: &WorkerOptions) -> Result<Self, Error> {
        if options.brokers.is_empty() {
            return Err(Error::Config("no broker is given".to_owned()));
        }
        let open = |channel: &crate::ChannelOptions| {
            let broker = WorkerServiceClient::new(channel.open()?);
            Ok(broker.max_decoding_message_size(MESSAGE_BYTES_MAX))
        };
        let brokers = options.brokers.iter().map(open).collect::<Result<Vec<_>, Error>>()?;
        // Workers start at different brokers, so that the load spreads.
        let first = rand::random_range(0..brokers.len());
        Ok(Self { brokers, current: AtomicUsize::new(first), session: watch::Sender::new(None) })
    }

    /// The broker to be asked now, and its place for [`Self::leave`].
    pub fn broker(&self) -> (usize, Broker) {
        let place = self.current.load(Ordering::Relaxed);
        (place, self.brokers[place % self.brokers.len()].clone())
    }

    /// Turns to the next broker, unless somebody else has done so.
    fn leave(&self, place: usize) {
        let _ = self.current.compare_exchange(
            place,
            place.wrapping_add(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// The session in force; waits for one. Cancel safe.
    pub async fn session(&self) -> Arc<Session> {
        let mut watching = self.session.subscribe();
        loop {
            if let Ok(session) = watching.wait_for(Option::is_some).await
                && let Some(session) = session.as_ref()
            {
                return session.clone();
            }
        }
    }

    pub fn set_session(&self, session: Session) {
        self.session.send_replace(Some(Arc::new(session)));
    }

    /// Waits until the session in force was found to be unknown. Cancel safe.
    pub async fn session_lost(&self) {
        let mut watching = self.session.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = watching.wait_for(Option::is_none).await;
    }

    fn forget_session(&self, id: &str) {
        self.session.send_if_modified(|session| {
            let same = session.as_ref().is_some_and(|session| session.id == id);
            if same {
                *session = None;
            }
            same
        });
    }

    /// Notes what an error says about broker and session.
    pub fn note_error(&self, place: usize, session_id: &str, error: &Error) {
        if error.is_unreachable() || error.code() == Code::DeadlineExceeded {
            self.leave(place);
        }
        if error.has_reason("UNKNOWN_SESSION") {
            tracing::warn!("the broker does not know this session, registering again");
            self.forget_session(session_id);
        }
    }

    /// Calls about one task, in its trace.
    pub fn in_trace<'a>(&'a self, traceparent: &'a str) -> Calls<'a> {
        Calls { link: self, traceparent: Some(traceparent) }
    }

    /// Calls about the worker or about many tasks, each in a trace of its own.
    pub fn calls(&self) -> Calls<'_> {
        Calls { link: self, traceparent: None }
    }
}

/// Unary calls under the session in force.
#[derive(Clone, Copy)]
pub(super) struct Calls<'a> {
    link: &'a Link,
    traceparent: Option<&'a str>,
}

impl Calls<'_> {
    /// One try of a call; waits for a session.
    pub async fn call<Q, A, F>(
        self,
        timeout: Duration,
        message: impl FnOnce(String) -> Q,
        send: impl FnOnce(Broker, Request<Q>) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let session = self.link.session().await;
        let (place, broker) = self.link.broker();
        let mut request = Request::new(message(session.id.clone()));
        if let Some(traceparent) = self.traceparent {
            trace::mark(&mut request, traceparent);
        }
        request.set_timeout(timeout);
        let answer = send(broker, request).await.map(Response::into_inner).map_err(Error::from);
        answer.inspect_err(|error| self.link.note_error(place, &session.id, error))
    }

    /// The same, repeated until it is answered or refused for good. Cancel safe.
    pub async fn call_until_answered<Q, A, F>(
        self,
        timeout: Duration,
        message: impl Fn(String) -> Q,
        send: impl Fn(Broker, Request<Q>) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut pause = Pause::default();
        loop {
            match self.call(timeout, &message, &send).await {
                Err(error) if is_worth_repeating(&error) => pause.after(&error).await,
                answer => return answer,
            }
        }
    }
}

/// Whether a call of a worker may get another answer later: everything but a clear refusal.
pub(super) fn is_worth_repeating(error: &Error) -> bool {
    if error.is_retryable() || error.has_reason("UNKNOWN_SESSION") {
        return true;
    }
    matches!(
        error.code(),
        Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Internal
            | Code::Unknown
            | Code::DataLoss
            | Code::Unauthenticated
    )
}

/// Growing, jittered waits between tries.
pub(super) struct Pause {
    next: Duration,
    max: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self::up_to(WAIT_MAX)
    }
}

impl Pause {
    /// They grow up to this, on average.
    pub fn up_to(max: Duration) -> Self {
        Self { next: WAIT_MIN, max }
    }

    /// Waits, longer after every call. Cancel safe.
    pub async fn after(&mut self, error: &Error) {
        tracing::debug!(%error, "a call to the broker failed, trying again");
        // Upon what a broker asks for, which asks the same of everybody.
        let wait = error.retry_delay().unwrap_or_default() + jittered(self.next);
        self.next = (self.next * 2).min(self.max);
        tokio::time::sleep(wait).await;
    }
}
