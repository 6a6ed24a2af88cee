//! Governors on a free port in this process, and a client for each.

use asyncflow_governor::{DEFAULT_CONFIG, ENV_PREFIX, GovernorConfig, GovernorError, run};
use asyncflow_proto::v1::{
    DutyStatus, GetStatusRequest, GetStatusResponse, governor_service_client::GovernorServiceClient,
};
use asyncflow_service::config::Sources;
use asyncflow_store::{Store, StoreOptions};
use std::time::Duration;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

pub const TTL_MS: u64 = 600;
const PATIENCE: Duration = Duration::from_secs(30);

pub type Client = GovernorServiceClient<Channel>;

pub struct Governor {
    pub client: Client,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<Result<(), GovernorError>>,
}

/// A migrated database.
pub async fn store(url: &str) -> Store {
    let store = Store::connect(&StoreOptions::new(url)).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// A governor with a short lead, whose duties run only when they are asked for.
pub async fn start(url: &str) -> Governor {
    start_with(url, &[]).await
}

/// The same with other settings.
pub async fn start_with(url: &str, settings: &[(&str, &str)]) -> Governor {
    let sources = Sources::new(DEFAULT_CONFIG, ENV_PREFIX)
        .env([])
        .flag("database.url", url)
        .flag("metrics.address", "")
        .flag("leader.ttl_ms", TTL_MS.to_string());
    let duties = ["reap", "promote", "retention", "roll", "drain", "drop", "schedules"];
    let sources = duties.iter().fold(sources, |sources, duty| {
        sources.flag(&format!("duties.{duty}_interval_ms"), "3600000")
    });
    let flag = |sources: Sources, (key, value): &(&str, &str)| sources.flag(key, *value);
    let sources = settings.iter().fold(sources, flag);
    let config = GovernorConfig::load(&sources).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (store, shutdown) = (store(url).await, CancellationToken::new());
    let task = tokio::spawn(run(config, store, listener, shutdown.clone()));
    let client = Client::connect(format!("http://{address}")).await.unwrap();
    Governor { client, shutdown, task }
}

impl Governor {
    pub async fn status(&mut self) -> GetStatusResponse {
        self.client.get_status(GetStatusRequest {}).await.unwrap().into_inner()
    }

    /// What its status says of a duty.
    pub async fn last_run(&mut self, duty: &str) -> DutyStatus {
        let duties = self.status().await.duties;
        duties.into_iter().find(|known| known.name == duty).unwrap()
    }

    /// Waits until it leads, or does not.
    pub async fn until_leading(&mut self, leading: bool) -> GetStatusResponse {
        let wait = async {
            loop {
                let status = self.status().await;
                if status.leading == leading {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the lead changes in time")
    }
}

/// The reason that a refusal carries.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
