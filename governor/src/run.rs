//! A governor from start to end, for the binary, for `asyncflow dev` and for tests.

use crate::{
    archive::Archiver,
    clock::{Clock, wall_ms},
    config::GovernorConfig,
    duty,
    lead::Candidate,
    outage::Outages,
    rpc::Service,
    schedule::{self, Shared},
};
use asyncflow_proto::{FILE_DESCRIPTOR_SET, v1::governor_service_server::GovernorServiceServer};
use asyncflow_service::{
    health::Health,
    http,
    identity::InstanceId,
    server::{self, GrpcServer, ServerError},
    shutdown::Shutdown,
    transcode::{HttpApi, HttpApiError},
};
use asyncflow_store::{Store, StoreError};
use std::io;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

const SERVICE: &str = "asyncflow.v1.GovernorService";
/// Tonic's own limit, which the service leaves as it is.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Why a governor ended.
#[derive(Debug, thiserror::Error)]
pub enum GovernorError {
    /// The gRPC or HTTP server could not be built, bound or went on.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The HTTP side failed.
    #[error("the HTTP server failed: {0}")]
    Http(#[from] io::Error),
    /// The database cannot be used, whatever time passes.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be opened, and waiting would not help.
    #[error("the database {url} cannot be opened: {source}; {}", .source.advice())]
    Open { url: String, source: StoreError },
    /// A part of it panicked; another governor, or this one after its restart, takes over.
    #[error("a part of the governor died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// Leads or stands by, and serves GovernorService on `listener`, until `shutdown`. Then it stops
/// its duties, gives the lead back, finishes the calls in hand and returns. The store stays open.
///
/// Dropping the future leaves tasks behind that end by themselves; cancel `shutdown` instead.
///
/// # Errors
/// [`GovernorError`]. An outage of the database is none: the governor waits for its end.
pub async fn run(
    config: GovernorConfig,
    store: Store,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), GovernorError> {
    let health = Health::new(&[SERVICE]).await;
    let http_stop = CancellationToken::new();
    let mut http_task = JoinSet::new();
    if let Some(address) = config.metrics.address {
        let http_listener = server::bind(address).await?;
        http_task.spawn(http::serve(http_listener, health.clone(), http_stop.clone()));
    }
    let outcome = lead_and_serve(&config, store, listener, &health, shutdown).await;
    http_stop.cancel();
    while let Some(ended) = http_task.join_next().await {
        ended??;
    }
    outcome
}

/// The calls of a governor as JSON over HTTP.
///
/// # Errors
/// When the annotations of the .proto files are wrong, which a test excludes.
pub fn http_api() -> Result<HttpApi, HttpApiError> {
    HttpApi::new(FILE_DESCRIPTOR_SET, &[SERVICE])
}

async fn lead_and_serve(
    config: &GovernorConfig,
    store: Store,
    listener: TcpListener,
    health: &Health,
    shutdown: CancellationToken,
) -> Result<(), GovernorError> {
    let server = GrpcServer::new(&config.listen)?
        .descriptor_set(FILE_DESCRIPTOR_SET)
        .http_api(http_api().map_err(ServerError::from)?, MESSAGE_BYTES_MAX);
    let (clock, outages) = (Clock::system(), Outages::default());
    let governor_id = InstanceId::generate().to_string();
    let candidate = Candidate {
        store: store.clone(),
        holder: governor_id.clone(),
        ttl: config.leader_ttl(),
        clock: clock.clone(),
        outages: outages.clone(),
        health: health.clone(),
    };
    // Duties end before the lead is given back, so that nobody else begins while they still run.
    let (duties_stop, lead_stop) = (CancellationToken::new(), CancellationToken::new());
    let (lead, campaign) = candidate.stand(lead_stop.clone());
    let mut lead_task = JoinSet::new();
    lead_task.spawn(campaign);
    let mut duty_tasks = JoinSet::new();
    let shared = Shared { store: store.clone(), lead: lead.clone(), clock, outages };
    let roster = schedule::start(duty::all(config), &shared, &mut duty_tasks, &duties_stop);

    let address = listener.local_addr()?;
    tracing::info!(governor_id, %address, "the governor listens");
    let archiver = Archiver::new(&config.archive);
    let service = Service { governor_id, start_time_ms: wall_ms(), store, lead, roster, archiver };
    let routes = Routes::new(GovernorServiceServer::new(service));
    let ending = Shutdown::new();
    let mut server_task = JoinSet::new();
    let (served, served_until) = (health.clone(), ending.clone());
    server_task.spawn(async move { server.serve(listener, routes, &served, &served_until).await });
    let early = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = server_task.join_next() => ended?.map_err(GovernorError::from),
        Some(ended) = duty_tasks.join_next() => ended.map_err(GovernorError::from),
        Some(ended) = lead_task.join_next() => ended.map_err(GovernorError::from),
    };
    health.set_not_serving("shutting down").await;
    duties_stop.cancel();
    join(&mut duty_tasks).await?;
    lead_stop.cancel();
    join(&mut lead_task).await?;
    health.set_not_serving("shutting down").await;
    ending.begin_drain();
    let drain_over = tokio::time::sleep(config.drain_time());
    tokio::pin!(drain_over);
    loop {
        tokio::select! {
            ended = server_task.join_next() => match ended {
                Some(ended) => ended??,
                None => return early,
            },
            () = &mut drain_over, if !ending.stop().is_cancelled() => ending.stop_now(),
        }
    }
}

async fn join(tasks: &mut JoinSet<()>) -> Result<(), GovernorError> {
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::http_api;

    #[test]
    fn every_call_can_be_made_over_http_and_the_document_is_fresh() {
        let api = http_api().unwrap();
        assert_eq!(api.calls_without_route(), [""; 0]);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi-governor.json");
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(path, api.document()).unwrap();
        }
        let committed = std::fs::read(path).unwrap_or_default();
        let hint = "run: UPDATE_GENERATED=1 cargo test -p asyncflow-governor --lib document";
        assert!(committed == api.document(), "{path} is not what the .proto files say; {hint}");
    }
}
