//! A server on a free port, with a service whose handlers a test can hold.

use asyncflow_proto::{FILE_DESCRIPTOR_SET, v1};
use asyncflow_service::{
    auth::Identity,
    config::{ListenConfig, LogConfig, MetricsConfig, Rules, Sources, Validate, load},
    health::Health,
    server::{CallClass, GrpcServer, ServerError, TraceContext, bind},
    shutdown::Shutdown,
    transcode::HttpApi,
};
use serde::Deserialize;
use std::{net::SocketAddr, sync::Arc};
use tokio::{sync::Semaphore, task::JoinHandle};
use tonic::{
    Request, Response, Status,
    service::Routes,
    transport::{Channel, Endpoint},
};
use v1::{
    attempt_service_client::AttemptServiceClient,
    attempt_service_server::{AttemptService, AttemptServiceServer},
};

/// Limit of a message in both directions, in bytes.
pub(crate) const MESSAGE_MAX_BYTES: usize = 4_096;

/// `GetAttempt` says that it began and waits until it may go on; the others answer at once.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) began: Arc<Semaphore>,
    pub(crate) may_go: Arc<Semaphore>,
}

#[tonic::async_trait]
impl AttemptService for Held {
    async fn get_attempt(
        &self,
        _: Request<v1::GetAttemptRequest>,
    ) -> Result<Response<v1::GetAttemptResponse>, Status> {
        self.began.add_permits(1);
        self.may_go.acquire().await.unwrap().forget();
        Ok(Response::new(v1::GetAttemptResponse { attempt: 7, ..Default::default() }))
    }

    async fn save_attempt_context(
        &self,
        _: Request<v1::SaveAttemptContextRequest>,
    ) -> Result<Response<v1::SaveAttemptContextResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn report_attempt_progress(
        &self,
        _: Request<v1::ReportAttemptProgressRequest>,
    ) -> Result<Response<v1::ReportAttemptProgressResponse>, Status> {
        panic!("a bug, on purpose")
    }

    async fn set_attempt_result(
        &self,
        _: Request<v1::SetAttemptResultRequest>,
    ) -> Result<Response<v1::SetAttemptResultResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn create_attempt_children(
        &self,
        _: Request<v1::CreateAttemptChildrenRequest>,
    ) -> Result<Response<v1::CreateAttemptChildrenResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn list_attempt_children(
        &self,
        _: Request<v1::ListAttemptChildrenRequest>,
    ) -> Result<Response<v1::ListAttemptChildrenResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn set_attempt_wait(
        &self,
        _: Request<v1::SetAttemptWaitRequest>,
    ) -> Result<Response<v1::SetAttemptWaitResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn hand_over_attempt(
        &self,
        _: Request<v1::HandOverAttemptRequest>,
    ) -> Result<Response<v1::HandOverAttemptResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    /// Says who called under which trace, and repeats it as often as `repeat` says.
    async fn should_stop(
        &self,
        request: Request<v1::ShouldStopRequest>,
    ) -> Result<Response<v1::ShouldStopResponse>, Status> {
        let repeat =
            request.metadata().get("repeat").map_or(1, |n| n.to_str().unwrap().parse().unwrap());
        let caller = Identity::of(request.extensions()).unwrap();
        let trace = TraceContext::of(request.extensions()).unwrap();
        let reason = format!("{} {:?} {}", caller.name, caller.kind, trace.trace_id());
        Ok(Response::new(v1::ShouldStopResponse {
            should_stop: false,
            reason: reason.repeat(repeat),
        }))
    }
}

fn http_api() -> HttpApi {
    HttpApi::new(FILE_DESCRIPTOR_SET, &["asyncflow.v1.AttemptService"]).unwrap()
}

#[derive(Deserialize)]
struct OnlyListen {
    listen: ListenConfig,
    #[serde(rename = "log")]
    _log: LogConfig,
    #[serde(rename = "metrics")]
    _metrics: MetricsConfig,
}

impl Validate for OnlyListen {
    fn validate(&self, rules: &mut Rules) {
        rules.section("listen", &self.listen);
    }
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) health: Health,
    pub(crate) shutdown: Shutdown,
    pub(crate) held: Held,
    pub(crate) task: JoinHandle<Result<(), ServerError>>,
}

impl Running {
    /// Starts on a free port with these settings over the defaults.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let sources = Sources::new(include_str!("../../src/config/sections.toml"), "AF_NONE")
            .flag("listen.address", "127.0.0.1:0");
        let sources = settings.iter().fold(sources, |s, (key, value)| s.flag(key, *value));
        let config = load::<OnlyListen>(&sources).unwrap().listen;
        let listener = bind(config.address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let held = Held { began: Arc::new(Semaphore::new(0)), may_go: Arc::new(Semaphore::new(0)) };
        let health = Health::new(&["asyncflow.v1.AttemptService"]).await;
        let shutdown = Shutdown::new();
        let server = GrpcServer::new(&config)
            .unwrap()
            .classify(|path| match path.rsplit('/').next() {
                Some("SaveAttemptContext") => CallClass::Vital,
                Some("Watch" | "ServerReflectionInfo") => CallClass::Parked,
                _ => CallClass::Ordinary,
            })
            .descriptor_set(FILE_DESCRIPTOR_SET)
            .http_api(http_api(), MESSAGE_MAX_BYTES);
        let service = AttemptServiceServer::new(held.clone())
            .max_decoding_message_size(MESSAGE_MAX_BYTES)
            .max_encoding_message_size(MESSAGE_MAX_BYTES);
        let (their_health, their_shutdown) = (health.clone(), shutdown.clone());
        let task = tokio::spawn(async move {
            server.serve(listener, Routes::new(service), &their_health, &their_shutdown).await
        });
        Self { address, health, shutdown, held, task }
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub(crate) async fn client(&self) -> AttemptServiceClient<Channel> {
        AttemptServiceClient::new(self.channel().await)
    }

    /// Begins a `GetAttempt` and returns once its handler runs.
    pub(crate) async fn begin_call(
        &self,
    ) -> JoinHandle<Result<Response<v1::GetAttemptResponse>, Status>> {
        let mut client = self.client().await;
        let call = tokio::spawn(async move { client.get_attempt(v1::GetAttemptRequest {}).await });
        self.held.began.acquire().await.unwrap().forget();
        call
    }
}
