//! Workers of the SDK in this process, whose handlers are functions of the tests.

use std::pin::Pin;

use asyncflow_sdk::{
    ChannelOptions,
    v1::{Content, LeasedTask},
    worker::{AttemptHandle, Handler, HandlerError, WorkerBuilder, WorkerOptions},
};
use asyncflow_tests::Cluster;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

type Done = Pin<Box<dyn Future<Output = Result<Value, HandlerError>> + Send>>;

/// A function of the payload, as a handler. The second argument is the number of the attempt.
pub struct Function(Box<dyn Fn(Value, i32) -> Done + Send + Sync>);

impl Function {
    pub fn new<F>(function: impl Fn(Value, i32) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Value, HandlerError>> + Send + 'static,
    {
        Self(Box::new(move |payload, attempt| Box::pin(function(payload, attempt))))
    }
}

#[async_trait::async_trait]
impl Handler for Function {
    type Context = Value;

    async fn load_context(&self, leased: &LeasedTask) -> Result<Value, HandlerError> {
        let payload = leased.task.as_ref().and_then(|task| task.payload.as_ref());
        let data = payload.map(|payload| &payload.data[..]).unwrap_or(b"null");
        serde_json::from_slice(data).map_err(|error| HandlerError::bad_context(error.to_string()))
    }

    async fn process(
        &self,
        attempt: &mut AttemptHandle,
        payload: Value,
    ) -> Result<Option<Content>, HandlerError> {
        let result = (self.0)(payload, attempt.task().attempt).await?;
        Ok(Some(json(&result)))
    }
}

pub fn json(value: &Value) -> Content {
    Content { data: value.to_string().into(), content_type: "application/json".to_owned() }
}

/// A running worker.
pub struct Worker {
    drain: CancellationToken,
    running: JoinHandle<Result<(), asyncflow_sdk::Error>>,
}

impl Worker {
    /// One that knows all brokers, and asks any of them.
    pub fn start(
        cluster: &Cluster,
        n: usize,
        slots: usize,
        handlers: impl IntoIterator<Item = (&'static str, Function)>,
    ) -> Self {
        Self::with(cluster, n, slots, |worker| {
            let add = |worker: WorkerBuilder, (name, handler)| worker.handler(name, handler);
            handlers.into_iter().fold(worker, add)
        })
    }

    /// The same with handlers of any kind.
    pub fn with(
        cluster: &Cluster,
        n: usize,
        slots: usize,
        add: impl FnOnce(WorkerBuilder) -> WorkerBuilder,
    ) -> Self {
        let brokers: Vec<_> = (0..cluster.brokers.len()).collect();
        Self::knowing(cluster, &brokers, n, slots, add)
    }

    /// One that knows only the broker of its own number.
    pub fn at_one_broker(
        cluster: &Cluster,
        n: usize,
        slots: usize,
        handlers: impl IntoIterator<Item = (&'static str, Function)>,
    ) -> Self {
        Self::knowing(cluster, &[n], n, slots, |worker| {
            let add = |worker: WorkerBuilder, (name, handler)| worker.handler(name, handler);
            handlers.into_iter().fold(worker, add)
        })
    }

    fn knowing(
        cluster: &Cluster,
        brokers: &[usize],
        n: usize,
        slots: usize,
        add: impl FnOnce(WorkerBuilder) -> WorkerBuilder,
    ) -> Self {
        let address = |broker| format!("http://{}", cluster.broker_address(broker));
        let brokers = brokers.iter().map(|broker| ChannelOptions::new(address(*broker)));
        let mut options = WorkerOptions::new(brokers.collect(), format!("sdk-{n}"));
        options.slots = slots;
        let worker = add(WorkerBuilder::new(options));
        let drain = CancellationToken::new();
        let running = tokio::spawn(worker.run(drain.clone(), CancellationToken::new()));
        Self { drain, running }
    }

    pub async fn stop(self) {
        self.drain.cancel();
        self.running.await.unwrap().unwrap();
    }
}
