//! What owners of tasks call, as far as it is needed here. It is routed by hand: the rest of the
//! service would be stubs.

use std::convert::Infallible;

use asyncflow_core::{error_reason::ErrorReason, event::Event, id::TaskId, transition::Refusal};
use asyncflow_sdk::v1::{
    CancelTaskRequest, CancelTaskResponse, CreateTaskRequest, CreateTaskResponse, GetTaskRequest,
    GetTaskResponse,
};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Context, Poll, Service, http},
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::{
    answer,
    broker::{Broker, Refused},
    status,
};

#[derive(Clone)]
pub struct Owners(pub Broker);

impl Owners {
    async fn create(self, request: CreateTaskRequest) -> Result<CreateTaskResponse, Status> {
        let invalid = || status::plain(ErrorReason::InvalidFields);
        let payload = request.task.and_then(|task| task.payload).ok_or_else(invalid)?;
        self.0.statement().await?;
        let id = self.0.database.create(&request.request_id, answer::content_of(payload));
        self.0.committed().await?;
        let row = self.0.database.read(&id).ok_or(Refused::NotFound)?;
        Ok(CreateTaskResponse { task: Some(answer::task(row)), ..CreateTaskResponse::default() })
    }

    async fn get(self, request: GetTaskRequest) -> Result<GetTaskResponse, Status> {
        let id = id(&request.task_id)?;
        self.0.statement().await?;
        let row = self.0.database.read(&id).ok_or(Refused::NotFound)?;
        Ok(GetTaskResponse { task: Some(answer::task(row)) })
    }

    async fn cancel(self, request: CancelTaskRequest) -> Result<CancelTaskResponse, Status> {
        let id = id(&request.task_id)?;
        match self.0.apply(&id, Event::Cancel { message: request.reason }, None).await {
            Ok(_) | Err(Refused::ByRule(Refusal::AlreadyDone, _)) => {}
            Err(refused) => return Err(refused.into()),
        }
        let row = self.0.database.read(&id).ok_or(Refused::NotFound)?;
        Ok(CancelTaskResponse { task: Some(answer::task(row)) })
    }
}

fn id(text: &str) -> Result<TaskId, Status> {
    text.parse().map_err(|_| status::plain(ErrorReason::InvalidFields))
}

impl NamedService for Owners {
    const NAME: &'static str = "asyncflow.v1.BrokerService";
}

/// One unary call, read and answered as generated code does.
macro_rules! unary {
    ($owners:expr, $request:expr, $message:ty, $answer:ty, $method:ident) => {{
        let owners = $owners;
        let call = service_fn(move |request: Request<$message>| {
            let owners = owners.clone();
            async move { owners.$method(request.into_inner()).await.map(Response::new) }
        });
        Grpc::new(ProstCodec::<$answer, $message>::default()).unary(call, $request).await
    }};
}

impl Service<http::Request<Body>> for Owners {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let owners = self.clone();
        Box::pin(async move {
            let verb = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match verb.as_str() {
                "CreateTask" => {
                    unary!(owners, request, CreateTaskRequest, CreateTaskResponse, create)
                }
                "GetTask" => unary!(owners, request, GetTaskRequest, GetTaskResponse, get),
                "CancelTask" => {
                    unary!(owners, request, CancelTaskRequest, CancelTaskResponse, cancel)
                }
                _ => status::unknown_call().into_http(),
            })
        })
    }
}
