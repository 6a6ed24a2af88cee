//! One answer to "can it be used?", for gRPC health and for `/readyz` alike.

use std::sync::Arc;
use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

/// Whether the process can be used; clones share it. Starts as not serving.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    services: Arc<[&'static str]>,
    /// Why it is not serving; `None` while it is.
    obstacle: watch::Sender<Option<String>>,
}

impl Health {
    /// For the named gRPC services (`asyncflow.v1.BrokerService`, …) and the server as a whole.
    pub async fn new(services: &[&'static str]) -> Self {
        let health = Self {
            reporter: HealthReporter::new(),
            services: services.into(),
            obstacle: watch::Sender::new(None),
        };
        health.set_not_serving("starting").await;
        health
    }

    /// Says that calls will be answered.
    pub async fn set_serving(&self) {
        self.obstacle.send_replace(None);
        self.report(ServingStatus::Serving).await;
    }

    /// Says that calls will not be answered; `reason` is shown at `/readyz`, without secrets.
    pub async fn set_not_serving(&self, reason: &str) {
        self.obstacle.send_replace(Some(reason.to_owned()));
        self.report(ServingStatus::NotServing).await;
    }

    /// What was said last.
    ///
    /// # Errors
    /// The reason, when it is not serving.
    pub fn check(&self) -> Result<(), String> {
        self.obstacle.borrow().clone().map_or(Ok(()), Err)
    }

    pub(crate) fn reporter(&self) -> HealthReporter {
        self.reporter.clone()
    }

    async fn report(&self, status: ServingStatus) {
        for service in self.services.iter().copied().chain([""]) {
            self.reporter.set_service_status(service, status).await;
        }
    }
}
