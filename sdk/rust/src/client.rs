//! A client for owners of tasks: thin, typed methods over `BrokerService`.
//!
//! Every call has a deadline and is repeated with growing, jittered waits when the broker asks for
//! it or cannot be reached. Creates always carry a `request_id`, so repeating them is safe.

mod bulk;
mod hosts;
mod logs;
mod operations;
mod schedules;
mod task_types;
mod tasks;
mod wait;
mod watch;
mod workflow_end;
mod workflows;

pub use operations::is_over;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use futures::{Stream, TryStreamExt, stream};
use tonic::{Request, Response, Status};

use operations::Operations;

use crate::{
    Error,
    channel::{AuthorizedChannel, ChannelOptions},
    trace,
    v1::{TaskState, broker_service_client::BrokerServiceClient},
};

/// The largest answer that is accepted: a page of full tasks.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);
pub use workflow_end::is_workflow_over;

type Broker = BrokerServiceClient<AuthorizedChannel>;

/// How a [`Client`] behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `http://host:port` or `https://host:port`.
    pub address: String,
    /// Sent as bearer token.
    pub token: Option<String>,
    /// PEM file of the authority that signed the broker's certificate; required for `https`.
    pub ca_file: Option<PathBuf>,
    /// How long a connection attempt may take. Default 3 s.
    pub connect_timeout: Duration,
    /// Deadline of one try of a call that does not wait. Default 30 s.
    pub call_timeout: Duration,
    /// How often a call is repeated after the first try, with waits of up to 5 s. Default 12: a
    /// broker may be away for half a minute.
    pub retries_max: usize,
}

impl Default for ClientOptions {
    /// A broker on this machine at its default port.
    fn default() -> Self {
        Self {
            address: "http://127.0.0.1:7070".to_owned(),
            token: None,
            ca_file: None,
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(30),
            retries_max: 12,
        }
    }
}

/// A connection to a broker; a cheap clone. Dropping a call's future cancels the call.
#[derive(Clone)]
pub struct Client {
    broker: Broker,
    operations: Operations,
    schedules: schedules::Schedules,
    hosts: hosts::Hosts,
    call_timeout: Duration,
    retries_max: usize,
    /// Of a call with all its repetitions.
    deadline: Option<Duration>,
    told: Option<Told>,
}

/// Hears what went wrong, and how often in a row it did, before it is tried again.
type Told = Arc<dyn Fn(&Error, usize) + Send + Sync>;

impl Client {
    /// Prepares the connection; it is made at the first call, and again after a break.
    ///
    /// Errors: [`Error::Config`] for a bad address, token or CA file. Must be called inside of a
    /// tokio runtime.
    pub fn connect(options: ClientOptions) -> Result<Self, Error> {
        let channel = ChannelOptions {
            address: options.address,
            token: options.token,
            ca_file: options.ca_file,
            connect_timeout: options.connect_timeout,
        }
        .open()?;
        let operations = Operations::new(channel.clone());
        Ok(Self {
            schedules: schedules::open(channel.clone()),
            hosts: hosts::open(channel.clone()),
            broker: BrokerServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX),
            operations: operations.max_decoding_message_size(MESSAGE_BYTES_MAX),
            call_timeout: options.call_timeout,
            retries_max: options.retries_max,
            deadline: None,
            told: None,
        })
    }

    /// A client of which each call, with all its repetitions and waits, is over after `deadline`,
    /// then with DEADLINE_EXCEEDED; of a list each page, and its streams not. It shares the
    /// connection.
    ///
    /// What was called may still be carried out: repeat creates with the same request id.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self.clone() }
    }

    /// A client that repeats its calls, and opens its streams again, up to `retries_max` times in a
    /// row: 12 are half a minute, each further one 5 s more. Before each, `told` hears what went
    /// wrong and how often it has by now. It shares the connection.
    #[must_use]
    pub fn persistent(
        &self,
        retries_max: usize,
        told: impl Fn(&Error, usize) + Send + Sync + 'static,
    ) -> Self {
        Self { retries_max, told: Some(Arc::new(told)), ..self.clone() }
    }

    /// Ends the work at the deadline, if there is one.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match self.deadline {
            None => work.await,
            Some(deadline) => wait::in_time(deadline, work).await,
        }
    }

    fn tell(&self, error: &Error, failures: usize) {
        if let Some(told) = &self.told {
            told(error, failures);
        }
    }

    fn waits(&self) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(RETRY_WAIT_MIN)
            .with_max_delay(RETRY_WAIT_MAX)
            .with_max_times(self.retries_max)
            .with_jitter()
    }

    /// One unary call with deadline and repetitions.
    async fn call<Q, A, F>(
        &self,
        message: Q,
        send: impl Fn(Broker, Request<Q>) -> F,
    ) -> Result<A, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call_for(self.call_timeout, message, send).await
    }

    /// The same for a call that would do a second thing when it came twice: it is repeated only
    /// when it is known that the broker did nothing.
    async fn call_once<Q, A, F>(
        &self,
        message: Q,
        send: impl Fn(Broker, Request<Q>) -> F,
    ) -> Result<A, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call_while(Error::is_undone, self.call_timeout, message, send).await
    }

    async fn call_for<Q, A, F>(
        &self,
        timeout: Duration,
        message: Q,
        send: impl Fn(Broker, Request<Q>) -> F,
    ) -> Result<A, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call_while(Error::is_retryable, timeout, message, send).await
    }

    async fn call_while<Q, A, F>(
        &self,
        may_be_repeated: fn(&Error) -> bool,
        timeout: Duration,
        message: Q,
        send: impl Fn(Broker, Request<Q>) -> F,
    ) -> Result<A, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        // One trace for all tries: the first may have created the task which the last one finds.
        let traceparent = trace::traceparent("");
        let timeout = self.deadline.map_or(timeout, |deadline| deadline.min(timeout));
        // A try that may have been carried out says more than a later one that was not.
        let doubtful = std::sync::Mutex::new(None);
        let failures = AtomicUsize::new(0);
        let once = || async {
            let mut request = Request::new(message.clone());
            trace::mark(&mut request, &traceparent);
            request.set_timeout(timeout);
            let answer = send(self.broker.clone(), request).await;
            answer.map(Response::into_inner).map_err(|status| note(&doubtful, status.into()))
        };
        let repeated = once
            .retry(self.waits())
            .when(may_be_repeated)
            .notify(|error, _| self.tell(error, failures.fetch_add(1, Ordering::Relaxed) + 1))
            .adjust(|error, wait| wait.map(|wait| wait.max(error.retry_delay().unwrap_or(wait))));
        // On the heap, or the future of a call would be copied into those of all who wait for it.
        let outcome = self.in_time(Box::pin(repeated.into_future())).await;
        outcome.map_err(|error| match error.is_undone() {
            true => doubtful.into_inner().ok().flatten().unwrap_or(error),
            false => error,
        })
    }

    /// All that a list answers, page by page as they are asked for. `read` takes a page apart into
    /// its entries and the token of the next page, `token` is where a request has it.
    fn paged<Q, A, T, F>(
        &self,
        first: Q,
        send: impl Fn(Broker, Request<Q>) -> F + Clone,
        read: fn(A) -> (Vec<T>, String),
        token: fn(&mut Q) -> &mut String,
    ) -> impl Stream<Item = Result<T, Error>>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let client = self.clone();
        let pages = stream::try_unfold(Some(first), move |next| {
            let (client, send) = (client.clone(), send.clone());
            async move {
                let Some(mut request) = next else { return Ok::<_, Error>(None) };
                let (entries, next_page) = read(client.call(request.clone(), send).await?);
                let next = (!next_page.is_empty()).then(|| {
                    *token(&mut request) = next_page;
                    request
                });
                Ok(Some((stream::iter(entries.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten()
    }
}

/// Keeps an error after which nobody knows what was done.
fn note(doubtful: &std::sync::Mutex<Option<Error>>, error: Error) -> Error {
    if error.is_outcome_unknown()
        && let Ok(mut kept) = doubtful.lock()
    {
        *kept = Some(error.clone());
    }
    error
}

/// Whether nothing follows this state but a RetryTask.
pub fn is_terminal(state: TaskState) -> bool {
    matches!(state, TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled)
}

/// A stream's waits between reconnects; starts anew after every message that came through.
struct Reconnects {
    client: Client,
    waits: backon::ExponentialBackoff,
    failures: usize,
}

impl Reconnects {
    fn new(client: &Client) -> Self {
        Self { client: client.clone(), waits: client.waits().build(), failures: 0 }
    }

    fn succeeded(&mut self) {
        (self.waits, self.failures) = (self.client.waits().build(), 0);
    }

    /// Waits before the next try, or gives the error back when trying is over.
    async fn failed(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_retryable() {
            return Err(error);
        }
        let Some(wait) = self.waits.next() else { return Err(error) };
        self.failures += 1;
        self.client.tell(&error, self.failures);
        tokio::time::sleep(wait.max(error.retry_delay().unwrap_or(wait))).await;
        Ok(())
    }
}
