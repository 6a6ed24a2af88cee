//! The three programs in one process: started upwards, stopped downwards.
//!
//! Stopping goes worker → broker → governor → store: a worker gives its tasks back through a
//! broker that still answers, and the last one out closes the database.

use super::{data_dir::DataDir, settings::Settings};
use asyncflow_broker::{BrokerError, Store, StoreError};
use asyncflow_governor::GovernorError;
use asyncflow_sdk::{Client, ClientOptions};
use asyncflow_service::server::{self, ServerError};
use asyncflow_worker::{Handlers, WorkerError};
use std::{fmt::Display, io, net::SocketAddr};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// How often the first call is repeated while the broker starts.
const FIRST_CALL_RETRIES: usize = 20;

/// Where everything can be reached, as URLs.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub broker: String,
    pub governor: String,
    pub http: String,
}

/// Why the whole did not start or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error(
        "{0}\n  something else listens there, another `asyncflow dev` perhaps; take another \
         address by --listen 127.0.0.1:PORT, or any free one by --listen 127.0.0.1:0"
    )]
    Bind(ServerError),
    #[error(
        "the database {path} cannot be used: {source}\n  {}; another directory is given by \
         --data-dir", .source.advice()
    )]
    Database { path: String, source: StoreError },
    #[error("the broker does not answer: {0}")]
    Unready(asyncflow_sdk::Error),
    #[error("cannot write dev.json: {0}")]
    Announce(io::Error),
    #[error("the {0} ended by itself: {1}")]
    Died(&'static str, String),
    #[error("cannot tell the address that was bound: {0}")]
    Address(#[from] io::Error),
}

/// One program that runs.
struct Part<E> {
    name: &'static str,
    stop: CancellationToken,
    running: JoinHandle<Result<(), E>>,
}

/// Everything that runs.
pub struct Stack {
    addresses: Addresses,
    store: Store,
    broker: Part<BrokerError>,
    governor: Part<GovernorError>,
    worker: Part<WorkerError>,
    /// Kills what the worker runs.
    abort: CancellationToken,
}

impl Stack {
    /// Binds, opens the database, starts the three, and returns when the broker answers.
    pub async fn start(settings: Settings, data_dir: &DataDir) -> Result<Self, StackError> {
        let Settings { broker, governor, mut worker, http } = settings;
        let broker_listener = bind(broker.listen.address).await?;
        let governor_listener = bind(governor.listen.address).await?;
        let http_listener = bind(http).await?;
        let addresses = Addresses {
            broker: url(&broker_listener, broker.listen.tls.cert_file.is_some())?,
            governor: url(&governor_listener, governor.listen.tls.cert_file.is_some())?,
            http: url(&http_listener, false)?,
        };
        worker.broker.addresses = vec![addresses.broker.clone()];
        let store = open_store(&broker, data_dir).await?;
        let token = CancellationToken::new;
        let (b, g, w, abort) = (token(), token(), token(), token());
        let stack = Self {
            addresses,
            broker: Part::start("broker", b.clone(), {
                let http = Some(http_listener);
                asyncflow_broker::run_with_http(broker, store.clone(), broker_listener, http, b)
            }),
            governor: Part::start("governor", g.clone(), {
                asyncflow_governor::run(governor, store.clone(), governor_listener, g)
            }),
            worker: Part::start("worker", w.clone(), {
                asyncflow_worker::run_until(worker, Handlers::new(), w, abort.clone())
            }),
            store,
            abort,
        };
        match first_call(&stack.addresses.broker).await {
            Ok(()) => Ok(stack),
            Err(error) => {
                stack.stop().await?;
                Err(error)
            }
        }
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// When it is cancelled the worker kills what it runs instead of waiting for it.
    pub fn abort(&self) -> CancellationToken {
        self.abort.clone()
    }

    /// Waits for `drain` or for the end of any part, then stops what is left, in order.
    pub async fn run_until(mut self, drain: &CancellationToken) -> Result<(), StackError> {
        let early = tokio::select! {
            () = drain.cancelled() => None,
            error = self.broker.died() => Some(error),
            error = self.governor.died() => Some(error),
            error = self.worker.died() => Some(error),
        };
        let stopped = self.stop().await;
        early.map_or(stopped, Err)
    }

    /// Goes through all parts whatever one of them says; the first error counts.
    async fn stop(self) -> Result<(), StackError> {
        let worker = self.worker.stop().await;
        let broker = self.broker.stop().await;
        let governor = self.governor.stop().await;
        self.store.close().await;
        worker.and(broker).and(governor)
    }
}

impl<E: Display + Send + 'static> Part<E> {
    fn start(
        name: &'static str,
        stop: CancellationToken,
        run: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> Self {
        Self { name, stop, running: tokio::spawn(run) }
    }

    /// Answers when the part has ended although nobody asked it to. Cancel safe.
    async fn died(&mut self) -> StackError {
        let reason = match (&mut self.running).await {
            Ok(Ok(())) => "without saying why".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        StackError::Died(self.name, reason)
    }

    async fn stop(self) -> Result<(), StackError> {
        self.stop.cancel();
        if self.running.is_finished() {
            // Its end was told already, or it ended just as it was asked to.
            return Ok(());
        }
        match self.running.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(StackError::Died(self.name, error.to_string())),
            Err(panic) => Err(StackError::Died(self.name, panic.to_string())),
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StackError> {
    server::bind(address).await.map_err(StackError::Bind)
}

fn url(listener: &TcpListener, tls: bool) -> Result<String, StackError> {
    let scheme = if tls { "https" } else { "http" };
    Ok(format!("{scheme}://{}", listener.local_addr()?))
}

async fn open_store(
    config: &asyncflow_broker::BrokerConfig,
    data_dir: &DataDir,
) -> Result<Store, StackError> {
    let opening = async {
        let store = Store::connect(&config.store_options()).await?;
        store.migrate().await?;
        Ok(store)
    };
    let opened: Result<Store, StoreError> = opening.await;
    opened.map_err(|source| StackError::Database {
        path: data_dir.database_file().display().to_string(),
        source,
    })
}

/// A call that needs the database: when it is answered, everything is up.
async fn first_call(address: &str) -> Result<(), StackError> {
    let options = ClientOptions {
        address: address.to_owned(),
        retries_max: FIRST_CALL_RETRIES,
        ..ClientOptions::default()
    };
    let client = Client::connect(options).map_err(StackError::Unready)?;
    match client.types().await {
        Err(error) if error.is_unreachable() => Err(StackError::Unready(error)),
        // A refusal is an answer too, e.g. where tokens are asked for.
        Ok(_) | Err(_) => Ok(()),
    }
}
