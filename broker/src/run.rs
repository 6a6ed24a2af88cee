//! The life of a broker: open, serve, drain, end.

use std::{process::ExitCode, sync::Arc, time::Duration};

use asyncflow_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        broker_service_server::BrokerServiceServer, host_service_server::HostServiceServer,
        operation_service_server::OperationServiceServer,
        schedule_service_server::ScheduleServiceServer, worker_service_server::WorkerServiceServer,
    },
};
use asyncflow_service::{
    config::mask_urls,
    health::Health,
    http,
    server::{self, CallClass, GrpcServer, ServerError},
    shutdown::{Shutdown, watch_signals},
    telemetry,
    transcode::{HttpApi, HttpApiError},
};
use asyncflow_store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    broker::Broker,
    config::{self, Args, BrokerConfig},
    rpc::{
        broker_service::BrokerApi, host_service::HostApi, operation_service::OperationApi,
        schedule_service::ScheduleApi, worker_service::WorkerApi,
    },
};

/// What is served: by gRPC and as JSON; health is told of them.
const SERVICES: [&str; 5] = [
    "asyncflow.v1.BrokerService",
    "asyncflow.v1.HostService",
    "asyncflow.v1.OperationService",
    "asyncflow.v1.ScheduleService",
    "asyncflow.v1.WorkerService",
];
/// How often the database is asked whether it answers.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// The configuration is wrong: nothing was opened.
const EXIT_CONFIG: u8 = 2;

/// Why a broker could not run, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("the database: {0}")]
    Store(#[from] StoreError),
    #[error("the database {url} cannot be opened: {source}; {}", .source.advice())]
    Open { url: String, source: StoreError },
    #[error("strict_durability is set and the database may lose tasks: {0}")]
    NotDurable(String),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("the HTTP side: {0}")]
    Http(std::io::Error),
}

/// Loads the configuration, opens the database and serves until SIGTERM or SIGINT.
///
/// The exit code is 0 after a clean end, 1 after an error, 2 for a wrong configuration.
pub async fn execute(args: Args) -> ExitCode {
    let config = match config::load(&args.sources()) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    telemetry::init(&config.log);
    match serve_until_signal(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %mask_urls(&error.to_string()), "the broker ended");
            ExitCode::FAILURE
        }
    }
}

/// Says what the server's settings may lose, or refuses to run on it.
async fn check_durability(store: &Store, strict: bool) -> Result<(), BrokerError> {
    let gaps = match store.durability_gaps().await {
        Ok(gaps) if strict && !gaps.is_empty() => {
            return Err(BrokerError::NotDurable(gaps.join("; ")));
        }
        Err(error) if strict => return Err(error.into()),
        Err(error) => vec![format!("its settings could not be read: {error}")],
        Ok(gaps) => gaps,
    };
    gaps.iter().for_each(|gap| tracing::warn!("the database may lose tasks: {gap}"));
    Ok(())
}

/// Opens the database and brings its tables to the newest schema.
async fn open(config: &BrokerConfig) -> Result<Store, BrokerError> {
    let opening = async {
        let store = Store::connect(&config.store_options()).await?;
        store.migrate().await?;
        Ok(store)
    };
    let url = mask_urls(&config.database.url);
    opening.await.map_err(|source| BrokerError::Open { url, source })
}

async fn serve_until_signal(config: BrokerConfig) -> Result<(), BrokerError> {
    let store = open(&config).await?;
    check_durability(&store, config.database.strict_durability).await?;
    let listener = server::bind(config.listen.address).await?;
    let http = match config.metrics.address {
        Some(address) => Some(server::bind(address).await?),
        None => None,
    };
    let shutdown = Shutdown::new();
    let signals = tokio::spawn(watch_signals(shutdown.clone(), config.drain_time()));
    let outcome = serve(config, store.clone(), listener, http, &shutdown).await;
    shutdown.stop_now();
    signals.abort();
    store.close().await;
    outcome
}

/// Serves on `listener` until `shutdown` is cancelled and the calls in hand are answered, at most
/// `drain_time_ms` later. The store is migrated, and stays open.
///
/// # Errors
/// When the server cannot be built or its transport fails.
pub async fn run(
    config: BrokerConfig,
    store: Store,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), BrokerError> {
    run_with_http(config, store, listener, None, shutdown).await
}

/// Like [`run`], with metrics and health over plain HTTP on a second listener.
///
/// # Errors
/// As [`run`].
pub async fn run_with_http(
    config: BrokerConfig,
    store: Store,
    listener: TcpListener,
    http: Option<TcpListener>,
    shutdown: CancellationToken,
) -> Result<(), BrokerError> {
    let phases = Shutdown::new();
    let drain_time = config.drain_time();
    let serving = serve(config, store, listener, http, &phases);
    tokio::pin!(serving);
    tokio::select! {
        outcome = &mut serving => return outcome,
        () = shutdown.cancelled() => phases.begin_drain(),
    }
    tokio::select! {
        outcome = &mut serving => return outcome,
        () = tokio::time::sleep(drain_time) => phases.stop_now(),
    }
    serving.await
}

/// The calls of a broker as JSON over HTTP.
///
/// # Errors
/// When the annotations of the .proto files are wrong, which a test excludes.
pub fn http_api() -> Result<HttpApi, HttpApiError> {
    HttpApi::new(FILE_DESCRIPTOR_SET, &SERVICES)
}

async fn serve(
    config: BrokerConfig,
    store: Store,
    listener: TcpListener,
    http: Option<TcpListener>,
    shutdown: &Shutdown,
) -> Result<(), BrokerError> {
    let message_bytes_max = config.limits.message_bytes_max;
    let grpc = GrpcServer::new(&config.listen)?
        .classify(classify)
        .descriptor_set(FILE_DESCRIPTOR_SET)
        .http_api(http_api().map_err(ServerError::from)?, message_bytes_max);
    let health = Health::new(&SERVICES).await;
    // Who reaches it at once is to find it ready, if it is.
    if store.ping().await.is_ok() {
        health.set_serving().await;
    }
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "the broker listens");
    }
    // Long polls and streams end as soon as draining begins; the server waits for them.
    let broker = Arc::new(Broker::start(config, store.clone(), shutdown.drain().child_token()));
    let routes = Routes::new(
        BrokerServiceServer::new(BrokerApi(Arc::clone(&broker)))
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(message_bytes_max),
    )
    .add_service(
        OperationServiceServer::new(OperationApi(Arc::clone(&broker)))
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(message_bytes_max),
    )
    .add_service(
        HostServiceServer::new(HostApi(Arc::clone(&broker)))
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(message_bytes_max),
    )
    .add_service(
        WorkerServiceServer::new(WorkerApi(Arc::clone(&broker)))
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(message_bytes_max),
    )
    .add_service(
        ScheduleServiceServer::new(ScheduleApi(Arc::clone(&broker)))
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(message_bytes_max),
    );
    let ended = CancellationToken::new();
    let watching = watch_database(&store, &health, shutdown, &ended);
    let serving_http = async {
        match http {
            Some(listener) => http::serve(listener, health.clone(), ended.clone()).await,
            None => Ok(()),
        }
    };
    let serving = async {
        let outcome = grpc.serve(listener, routes, &health, shutdown).await;
        broker.stop().await;
        ended.cancel();
        outcome
    };
    let (outcome, served_http, ()) = tokio::join!(serving, serving_http, watching);
    outcome?;
    served_http.map_err(BrokerError::Http)
}

/// Says NOT_SERVING while the database does not answer, and from the moment when draining begins.
async fn watch_database(
    store: &Store,
    health: &Health,
    shutdown: &Shutdown,
    ended: &CancellationToken,
) {
    let mut was_well = None;
    loop {
        let ping = shutdown.drain().run_until_cancelled(store.ping());
        let Some(answer) = ping.await else { break };
        let is_well = answer.is_ok();
        if was_well != Some(is_well) {
            match &answer {
                Ok(()) => {
                    if was_well.is_some() {
                        tracing::info!("the database answers again");
                    }
                    health.set_serving().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the database does not answer");
                    health.set_not_serving("the database does not answer").await;
                }
            }
            was_well = Some(is_well);
        }
        let pause = tokio::time::sleep(PING_INTERVAL);
        if shutdown.drain().run_until_cancelled(pause).await.is_none() {
            break;
        }
    }
    health.set_not_serving("shutting down").await;
    ended.cancelled().await;
}

/// What a call is worth under load: what makes load go away is never refused for what makes it.
fn classify(path: &str) -> CallClass {
    match path.rsplit('/').next().unwrap_or_default() {
        "Heartbeat" | "StartTasks" | "SaveContext" | "CompleteTask" | "FailTask"
        | "ReleaseTask" | "SettleTasks" => CallClass::Vital,
        "AcquireTasks" | "WaitTask" | "WaitOperation" | "WaitWorkflow" | "WatchTasks"
        | "WatchWorkflow" | "StreamCommands" | "StreamTaskLogs" => CallClass::Parked,
        _ => CallClass::Ordinary,
    }
}
