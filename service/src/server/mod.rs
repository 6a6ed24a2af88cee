//! A gRPC server with the limits that tonic leaves unset.
//!
//! ```text
//!  TCP ─▶ TLS ─▶ HTTP/1.1, or HTTP/2 with limits and keepalive
//!        ─▶ JSON and gRPC-Web become gRPC (`crate::transcode`)
//!        ─▶ call: trace ─▶ token ─▶ deadline ─▶ gate (load shed) ─▶ routes
//!           ◀─ statuses remapped, counted, traceparent returned
//! ```
//!
//! Draining: no new connections, GOAWAY, calls in hand are finished. Stopping: what is left is
//! answered with UNAVAILABLE. Message size limits are set on each service by who adds it.

mod body;
mod call;
mod deadline;
mod gate;
mod incoming;
mod remap;
pub mod tls;
mod trace;

pub use gate::CallClass;
pub use trace::TraceContext;

use crate::{
    auth::{Authenticator, TokensError},
    config::ListenConfig,
    health::Health,
    shutdown::Shutdown,
    transcode::{Browsers, HttpApi, HttpApiError, TranscodeLayer},
};
use call::{CallLayer, CallShared};
use gate::Gates;
use rustls::ServerConfig;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tonic::{
    service::Routes,
    transport::{
        Server,
        server::{Connected, TcpIncoming},
    },
};
use tonic_health::pb::health_server::HealthServer;
use tower::util::option_layer;

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const HEADERS_MAX_BYTES: u32 = 16 << 10;
/// Tonic's own limit of a message.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// How long connections get to send their last answers after the stop.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Why a server could not be built or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where it should have listened.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate or key is unusable.
    #[error("{key}: {message}")]
    Tls {
        /// The key of `[listen.tls]` that names the file.
        key: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The tokens file is unusable.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The descriptor set given for reflection is not one.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The calls cannot be made over plain HTTP.
    #[error("plain HTTP: {0}")]
    HttpApi(#[from] HttpApiError),
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

/// What a gRPC server is made of.
pub struct GrpcServer {
    tls: Option<Arc<ServerConfig>>,
    connection_calls_max: u32,
    authenticator: Authenticator,
    gates: Gates,
    reflection: bool,
    descriptor_set: Option<&'static [u8]>,
    browsers: Browsers,
    http_api: HttpApi,
    message_bytes_max: usize,
}

impl GrpcServer {
    /// Takes limits, certificate and tokens from `[listen]`.
    ///
    /// # Errors
    /// When certificate, key or tokens cannot be used.
    pub fn new(config: &ListenConfig) -> Result<Self, ServerError> {
        let tls = tls::server_config(&config.tls)
            .map_err(|(key, message)| ServerError::Tls { key, message })?;
        let authenticator = match &config.auth.tokens_file {
            Some(path) => Authenticator::from_file(path)?,
            None => Authenticator::open(),
        };
        Ok(Self {
            tls,
            connection_calls_max: config.connection_calls_max,
            authenticator,
            gates: Gates::new(config),
            reflection: config.reflection,
            descriptor_set: None,
            browsers: Browsers::new(&config.cors_origins, config.auth.tokens_file.is_none()),
            http_api: HttpApi::default(),
            message_bytes_max: MESSAGE_BYTES_MAX,
        })
    }

    /// Says which calls are vital and which are parked, by path (`/asyncflow.v1.X/Method`); all
    /// are ordinary otherwise.
    #[must_use]
    pub fn classify(mut self, classify: fn(&str) -> CallClass) -> Self {
        self.gates.classify(classify);
        self
    }

    /// The encoded descriptor set that reflection shows, where the configuration turns it on.
    #[must_use]
    pub fn descriptor_set(mut self, encoded: &'static [u8]) -> Self {
        self.descriptor_set = Some(encoded);
        self
    }

    /// Answers these calls over plain HTTP too; `message_bytes_max` is the limit of a message that
    /// their services have.
    #[must_use]
    pub fn http_api(mut self, api: HttpApi, message_bytes_max: usize) -> Self {
        self.http_api = api;
        self.message_bytes_max = message_bytes_max;
        self
    }

    /// Serves `routes`, health and reflection on `listener` until `shutdown` drains, then until
    /// all calls are answered or `shutdown` stops.
    ///
    /// # Errors
    /// When the descriptor set or the transport is unusable. A bad connection is no error.
    pub async fn serve(
        self,
        listener: TcpListener,
        routes: Routes,
        health: &Health,
        shutdown: &Shutdown,
    ) -> Result<(), ServerError> {
        let incoming = TcpIncoming::from(listener)
            .with_nodelay(Some(true))
            .with_keepalive(Some(Duration::from_secs(60)));
        self.serve_incoming(incoming, routes, health, shutdown).await
    }

    /// Like [`serve`](Self::serve), on any stream of connections, e.g. of a Unix socket.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub async fn serve_incoming<I, IO>(
        mut self,
        incoming: I,
        routes: Routes,
        health: &Health,
        shutdown: &Shutdown,
    ) -> Result<(), ServerError>
    where
        I: futures::Stream<Item = io::Result<IO>>,
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        match self.tls.take() {
            Some(tls) => self.serve_on(tls::accept(incoming, tls), routes, health, shutdown).await,
            None => self.serve_on(incoming, routes, health, shutdown).await,
        }
    }

    async fn serve_on<I, IO>(
        self,
        incoming: I,
        routes: Routes,
        health: &Health,
        shutdown: &Shutdown,
    ) -> Result<(), ServerError>
    where
        I: futures::Stream<Item = io::Result<IO>>,
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let routes = self.add_own_services(routes, health)?;
        let cors = self.browsers.cors();
        let http = TranscodeLayer::new(self.http_api, self.browsers, self.message_bytes_max);
        let server = Server::builder()
            .accept_http1(true)
            .concurrency_limit_per_connection(self.connection_calls_max as usize)
            .max_concurrent_streams(self.connection_calls_max)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_max_header_list_size(HEADERS_MAX_BYTES);
        let shared = CallShared::new(self.authenticator, self.gates, shutdown.stop().clone());
        let serving = server
            .layer(option_layer(cors))
            .layer(http)
            .layer(CallLayer::new(shared))
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                incoming::guarded(incoming),
                shutdown.drain().cancelled(),
            );
        let stopped = async {
            shutdown.stop().cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            result = serving => Ok(result?),
            () = stopped => Ok(()),
        }
    }

    fn add_own_services(&self, routes: Routes, health: &Health) -> Result<Routes, ServerError> {
        use tonic_health::server::HealthService;
        let health = HealthService::from_health_reporter(health.reporter());
        let routes = routes.add_service(HealthServer::new(health));
        let (true, Some(encoded)) = (self.reflection, self.descriptor_set) else {
            return Ok(routes);
        };
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(encoded)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        // Clients of both generations are about: Python's asks for v1alpha only.
        Ok(routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?))
    }
}

/// Binds the address of `[listen]`.
///
/// # Errors
/// [`ServerError::Bind`].
pub async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| ServerError::Bind { address, source })
}
