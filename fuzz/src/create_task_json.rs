//! A body of `POST /v1/tasks` is refused with a 4xx and a bounded text, or becomes a message that
//! the codec of gRPC reads, of which [`create_task`](crate::create_task) holds.

use std::{
    convert::Infallible,
    sync::{LazyLock, Mutex, PoisonError},
};

use asyncflow_proto::{FILE_DESCRIPTOR_SET, v1};
use asyncflow_service::transcode::{Browsers, HttpApi, TranscodeLayer};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tonic::{Status, body::Body};
use tower::{Layer, ServiceExt, service_fn};

use crate::create_task::check_request;

const SERVICE: &str = "asyncflow.v1.BrokerService";
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Flag and length in front of a message of gRPC.
const PREFIX_BYTES: usize = 5;

static API: LazyLock<Option<HttpApi>> =
    LazyLock::new(|| HttpApi::new(FILE_DESCRIPTOR_SET, &[SERVICE]).ok());
static RUNTIME: LazyLock<Mutex<Option<Runtime>>> =
    LazyLock::new(|| Mutex::new(Builder::new_current_thread().enable_time().build().ok()));

/// Sends the bytes as the body of a call.
pub fn check(data: &[u8]) {
    let runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some(api), Some(runtime)) = (&*API, &*runtime) else { panic!("there is no service") };
    let layer = TranscodeLayer::new(api.clone(), Browsers::default(), MESSAGE_BYTES_MAX);
    let request = Request::post("/v1/tasks")
        .header("content-type", "application/json")
        .body(Body::new(Full::new(bytes::Bytes::copy_from_slice(data))));
    let Ok(request) = request else { panic!("there is no request") };
    runtime.block_on(async {
        let Ok(answer) = layer.layer(service_fn(call)).oneshot(request).await;
        let code = answer.status();
        assert!(code.is_client_error(), "{code}");
        let Ok(body) = answer.into_body().collect().await else { panic!("the answer broke off") };
        let body = body.to_bytes();
        assert!(body.len() <= ANSWER_BYTES_MAX, "{} bytes", body.len());
        let told = serde_json::from_slice::<serde_json::Value>(&body);
        assert!(told.is_ok_and(|told| told.is_object()), "{body:?}");
    });
}

/// What a handler of tonic does with it. All that comes so far is refused too.
async fn call(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let status = match request.into_body().collect().await {
        Ok(frame) => {
            let frame = frame.to_bytes();
            let message = v1::CreateTaskRequest::decode(&frame[PREFIX_BYTES..]);
            match message {
                Ok(message) => check_request(message),
                Err(error) => panic!("{error} in {frame:?}"),
            }
            Status::invalid_argument("that was read")
        }
        Err(status) => status,
    };
    Ok(status.into_http())
}
