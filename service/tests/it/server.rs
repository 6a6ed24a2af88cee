use crate::harness::{MESSAGE_MAX_BYTES, Running};
use asyncflow_proto::v1;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic::{
    Code, Request, Status,
    codegen::http::{self, uri::PathAndQuery},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

fn result_of(len: usize) -> v1::SetAttemptResultRequest {
    let content = v1::Content { data: vec![0xff; len].into(), ..Default::default() };
    v1::SetAttemptResultRequest { result: Some(content) }
}

#[tokio::test]
async fn oversize_is_resource_exhausted_both_ways() {
    let running = Running::start(&[]).await;
    let mut client = running.client().await;
    let status = client.set_attempt_result(result_of(MESSAGE_MAX_BYTES)).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
    );

    let mut request = Request::new(v1::ShouldStopRequest {});
    request.metadata_mut().insert("repeat", "4096".parse().unwrap());
    let status = client.should_stop(request).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
    );

    client.set_attempt_result(result_of(MESSAGE_MAX_BYTES / 2)).await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_not_the_message_are_an_invalid_argument() {
    let running = Running::start(&[]).await;
    let mut raw = tonic::client::Grpc::new(running.channel().await);
    raw.ready().await.unwrap();
    // The bytes of a result stand where the string `stage` should: not UTF-8.
    let path = PathAndQuery::from_static("/asyncflow.v1.AttemptService/SaveAttemptContext");
    let codec = ProstCodec::<_, v1::SaveAttemptContextResponse>::default();
    let status = raw.unary(Request::new(result_of(8)), path, codec).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "MALFORMED_MESSAGE")
    );
    running.client().await.should_stop(v1::ShouldStopRequest {}).await.unwrap();
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_and_a_panic_is_contained() {
    let running = Running::start(&[]).await;
    let mut raw = tonic::client::Grpc::new(running.channel().await);
    raw.ready().await.unwrap();
    let path = PathAndQuery::from_static("/asyncflow.v1.Nothing/Do");
    let codec = ProstCodec::<_, v1::ShouldStopResponse>::default();
    let status = raw.unary(Request::new(v1::ShouldStopRequest {}), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);

    let mut client = running.client().await;
    let request = v1::ReportAttemptProgressRequest::default();
    let status = client.report_attempt_progress(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "BUG"));
    assert!(!status.message().contains("on purpose"), "the text of a panic is for the log");
    client.should_stop(v1::ShouldStopRequest {}).await.unwrap();
}

/// Calls `GetAttempt` with this deadline, by plain HTTP/2: tonic's client would end the call by
/// itself before the server's answer is seen.
async fn status_with_deadline(running: &Running, timeout: &str) -> Status {
    let stream = TcpStream::connect(running.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post("http://x/asyncflow.v1.AttemptService/GetAttempt")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(())
        .unwrap();
    let (answer, mut body) = client.ready().await.unwrap().send_request(request, false).unwrap();
    let empty_message = [0; 5].as_slice();
    body.send_data(empty_message.into(), true).unwrap();
    let headers = answer.await.unwrap().headers().clone();
    connection.abort();
    Status::from_header_map(&headers).unwrap()
}

#[tokio::test]
async fn a_deadline_is_kept_and_an_expired_one_never_reaches_the_handler() {
    let running = Running::start(&[]).await;
    for expired in ["0S", "900u"] {
        let status = status_with_deadline(&running, expired).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    }
    assert_eq!(running.held.began.available_permits(), 0, "no handler ran");
    for _ in 0..20 {
        let status = status_with_deadline(&running, "20m").await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert_eq!(reason(&status), "DEADLINE_EXCEEDED");
    }
    assert!(running.held.began.available_permits() > 0, "handlers ran");
}

#[tokio::test]
async fn one_trace_id_goes_in_and_comes_back() {
    let running = Running::start(&[]).await;
    let mut client = running.client().await;
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut request = Request::new(v1::ShouldStopRequest {});
    let parent = format!("00-{id}-00f067aa0ba902b7-01");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    let response = client.should_stop(request).await.unwrap();
    let back = response.metadata().get("traceparent").unwrap().to_str().unwrap();
    assert!(back.contains(id), "{back}");
    assert_eq!(response.get_ref().reason, format!("anonymous Anonymous {id}"));

    let response = client.should_stop(v1::ShouldStopRequest {}).await.unwrap();
    let made = response.metadata().get("traceparent").unwrap().to_str().unwrap();
    assert!(!made.contains(id) && made.len() == parent.len(), "{made}");
}

#[tokio::test]
async fn above_the_limit_calls_are_shed_and_vital_ones_are_not() {
    let running =
        Running::start(&[("listen.calls_max", "1"), ("listen.vital_calls_reserve", "1")]).await;
    let held = running.begin_call().await;
    let mut client = running.client().await;
    let status = client.should_stop(v1::ShouldStopRequest {}).await.unwrap_err();
    is_shed(&status);
    client.save_attempt_context(v1::SaveAttemptContextRequest::default()).await.unwrap();
    running.held.may_go.add_permits(1);
    held.await.unwrap().unwrap();
    client.should_stop(v1::ShouldStopRequest {}).await.unwrap();
}

fn is_shed(status: &Status) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
}

#[tokio::test]
async fn of_those_who_wait_for_a_place_one_has_it_and_too_many_are_shed_at_once() {
    let running =
        Running::start(&[("listen.calls_max", "1"), ("listen.waiting_calls_max", "1")]).await;
    let held = running.begin_call().await;
    let ask = || async {
        let mut client = running.client().await;
        client.should_stop(v1::ShouldStopRequest {}).await
    };
    let (one, other) = (Box::pin(ask()), Box::pin(ask()));
    let (shed, waits) = futures::future::select(one, other).await.factor_first();
    is_shed(&shed.unwrap_err());
    running.held.may_go.add_permits(1);
    waits.await.unwrap();
    held.await.unwrap().unwrap();
}

#[tokio::test]
async fn draining_answers_what_is_in_flight_and_takes_nothing_new() {
    let running = Running::start(&[]).await;
    let held = running.begin_call().await;
    running.shutdown.begin_drain();
    while TcpStream::connect(running.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!running.task.is_finished(), "a call is in flight");
    running.held.may_go.add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().into_inner().attempt, 7);
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_ends_calls_and_streams_with_unavailable() {
    let running = Running::start(&[]).await;
    let mut health = HealthClient::new(running.channel().await);
    let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let held = running.begin_call().await;
    running.shutdown.stop_now();
    let status = held.await.unwrap().unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "STOPPING"));
    let status = watched.next().await.unwrap().unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "STOPPING"));
    let ended = tokio::time::timeout(Duration::from_secs(5), running.task).await;
    ended.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn health_is_per_service_and_can_be_switched() {
    let running = Running::start(&[]).await;
    let mut client = HealthClient::new(running.channel().await);
    for (serving, expected) in [(true, ServingStatus::Serving), (false, ServingStatus::NotServing)]
    {
        if serving {
            running.health.set_serving().await;
        } else {
            running.health.set_not_serving("the database is down").await;
        }
        for service in ["", "asyncflow.v1.AttemptService"] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let status = client.check(request).await.unwrap().into_inner().status();
            assert_eq!(status, expected, "{service:?}");
        }
    }
    let request = HealthCheckRequest { service: "nobody".to_owned() };
    assert_eq!(client.check(request).await.unwrap_err().code(), Code::NotFound);
}

macro_rules! listed_services {
    ($channel:expr, $version:ident) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new($channel);
        match client.server_reflection_info(tokio_stream::once(request)).await {
            Err(status) => Err(status.code()),
            Ok(answers) => {
                match answers.into_inner().next().await.unwrap().unwrap().message_response {
                    Some(MessageResponse::ListServicesResponse(list)) => {
                        Ok(list.service.into_iter().map(|service| service.name).collect::<Vec<_>>())
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }};
}

#[tokio::test]
async fn reflection_answers_in_both_versions_and_only_when_turned_on() {
    let on = Running::start(&[("listen.reflection", "true")]).await;
    for names in
        [listed_services!(on.channel().await, v1), listed_services!(on.channel().await, v1alpha)]
    {
        let names = names.unwrap();
        for name in ["asyncflow.v1.BrokerService", "grpc.health.v1.Health"] {
            assert!(names.iter().any(|listed| listed == name), "{name} is not in {names:?}");
        }
    }
    let off = Running::start(&[]).await;
    assert_eq!(listed_services!(off.channel().await, v1).unwrap_err(), Code::Unimplemented);
    assert_eq!(listed_services!(off.channel().await, v1alpha).unwrap_err(), Code::Unimplemented);
}
