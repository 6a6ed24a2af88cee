//! Workers of the Rust SDK in this process, with a handler that does nothing but tell.

use crate::{brokers::Brokers, error::BenchError};
use async_trait::async_trait;
use asyncflow_sdk::{
    Error,
    v1::{Content, LeasedTask},
    worker::{
        AttemptHandle, Handler, HandlerError, Handlers, Outcome, WorkerBuilder, WorkerOptions,
    },
};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Who is told of every attempt.
pub trait Witness: Send + Sync + 'static {
    /// The handler has begun.
    fn begun(&self, _task: &LeasedTask) {}
    /// The broker has confirmed that the task has succeeded.
    fn confirmed(&self, _task: &LeasedTask) {}
}

/// Takes a task and is done with it.
struct NoWork<W>(Arc<W>);

#[async_trait]
impl<W: Witness> Handler for NoWork<W> {
    type Context = ();

    async fn load_context(&self, _task: &LeasedTask) -> Result<(), HandlerError> {
        Ok(())
    }

    async fn process(
        &self,
        attempt: &mut AttemptHandle,
        _context: (),
    ) -> Result<Option<Content>, HandlerError> {
        self.0.begun(attempt.leased());
        Ok(None)
    }

    async fn finish(&self, task: &LeasedTask, outcome: &Outcome) {
        if matches!(outcome, Outcome::Succeeded { .. }) {
            self.0.confirmed(task);
        }
    }
}

/// Running workers. Dropping it ends them at once; what they hold goes back later.
pub struct Fleet {
    running: JoinSet<Result<(), Error>>,
    drain: CancellationToken,
}

impl Fleet {
    /// Starts `workers` of `slots` each, which share the brokers in turn.
    pub fn start<W: Witness>(
        brokers: &Brokers,
        workers: usize,
        slots: usize,
        types: &[String],
        witness: &Arc<W>,
    ) -> Self {
        let (mut running, drain) = (JoinSet::new(), CancellationToken::new());
        for number in 0..workers {
            let id = format!("load-{number}-{}", uuid::Uuid::new_v4().simple());
            let mut options = WorkerOptions::new(vec![brokers.options(number)], id);
            options.slots = slots;
            options.host = "load".to_owned();
            let handlers = types.iter().fold(Handlers::new(), |handlers, name| {
                handlers.handler(name, NoWork(Arc::clone(witness)))
            });
            let builder = WorkerBuilder::new(options).handlers(handlers);
            running.spawn(builder.run(drain.clone(), CancellationToken::new()));
        }
        Self { running, drain }
    }

    /// Runs `work` while the workers work; an error when one of them ends before.
    pub async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T, BenchError>>,
    ) -> Result<T, BenchError> {
        tokio::select! {
            done = work => done,
            Some(ended) = self.running.join_next() => {
                ended.map_err(|error| BenchError::Other(error.to_string()))??;
                Err(BenchError::Other("a worker has ended by itself".to_owned()))
            }
        }
    }

    /// Lets the workers end what they have in hand and leave.
    pub async fn stop(mut self) -> Result<(), BenchError> {
        self.drain.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.map_err(|error| BenchError::Other(error.to_string()))??;
        }
        Ok(())
    }
}
