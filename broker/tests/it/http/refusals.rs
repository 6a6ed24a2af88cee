//! What is refused, and that it is refused as by gRPC.

use std::os::unix::fs::PermissionsExt;

use asyncflow_proto::v1;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tonic::Status;
use tonic_types::StatusExt;

use super::caller::{Answer, Caller};
use crate::harness::TestBroker;

/// The refusal by HTTP says what that by gRPC says.
fn assert_same(by_http: &Answer, status: StatusCode, by_grpc: &Status) {
    assert_eq!(by_http.status, status, "{by_http:?}");
    let error = &by_http.json()["error"];
    assert_eq!(error["code"], status.as_u16());
    assert_eq!(error["message"], by_grpc.message());
    let details = by_grpc.get_error_details();
    let of = |name: &str| {
        let list = error["details"].as_array().unwrap();
        let kind = format!("type.googleapis.com/google.rpc.{name}");
        list.iter().find(|detail| detail["@type"] == kind).cloned().unwrap_or(Value::Null)
    };
    assert_eq!(of("ErrorInfo")["reason"], details.error_info().unwrap().reason);
    assert_eq!(of("ErrorInfo")["domain"], "asyncflow");
    let violations: Vec<_> = details
        .bad_request()
        .map(|bad| bad.field_violations.clone())
        .unwrap_or_default()
        .iter()
        .map(|v| json!({ "field": v.field, "description": v.description }))
        .collect();
    let told = of("BadRequest")["field_violations"].as_array().cloned().unwrap_or_default();
    assert_eq!(told, violations);
    let resource = details.resource_info().map(|info| info.resource_name.clone());
    assert_eq!(of("ResourceInfo")["resource_name"].as_str(), resource.as_deref());
}

#[tokio::test]
async fn a_refusal_says_the_same_as_by_grpc() {
    let mut t = TestBroker::start().await;
    let http = Caller::http1(t.address);
    let bad = v1::TaskSpec {
        task_type: "no such!".to_owned(),
        priority: Some(5_000_000),
        success_if: "1 +".to_owned(),
        ..Default::default()
    };
    let request = v1::CreateTaskRequest { task: Some(bad), ..Default::default() };
    let by_grpc = t.broker.create_task(request).await.unwrap_err();
    let spec = json!({ "task_type": "no such!", "priority": 5_000_000, "success_if": "1 +" });
    let by_http = http.post("/v1/tasks", &spec).await;
    assert_same(&by_http, StatusCode::BAD_REQUEST, &by_grpc);
    assert!(by_grpc.get_error_details().bad_request().unwrap().field_violations.len() >= 3);

    let id = t.create("train").await.id;
    t.broker.delete_task(v1::DeleteTaskRequest { task_id: id.clone() }).await.unwrap();
    let request = v1::GetTaskRequest { task_id: id.clone(), view: 0 };
    let by_grpc = t.broker.get_task(request).await.unwrap_err();
    assert_same(&http.get(&format!("/v1/tasks/{id}")).await, StatusCode::NOT_FOUND, &by_grpc);

    let live = t.create("train").await.id;
    let request = v1::RetryTaskRequest { task_id: live.clone(), from_start: false };
    let by_grpc = t.broker.retry_task(request).await.unwrap_err();
    let by_http = http.post(&format!("/v1/tasks/{live}:retry"), &json!({})).await;
    assert_same(&by_http, StatusCode::BAD_REQUEST, &by_grpc);
    assert_eq!(by_http.json()["error"]["status"], "FAILED_PRECONDITION");
    t.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_told_where_it_stands() {
    let t = TestBroker::start().await;
    let http = Caller::http1(t.address);
    let refusal = async |path: &str, body: &str| {
        let answer = http.send(Method::POST, path, &[], body.to_owned()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
        answer.json()["error"].clone()
    };
    let error = refusal("/v1/tasks", "{\"task_type\": \"a\",\n \"labels\": }").await;
    assert_eq!(error["details"][0]["reason"], "MALFORMED_MESSAGE");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("line 2 column 12") && message.contains("task.labels"), "{message}");
    let error = refusal(
        "/v1/tasks?request=1&validate_only=yes&request_id=a&request_id=b&task.name=x",
        r#"{"task_typ":"a","priority":"high"}"#,
    )
    .await;
    let violations = error["details"][1]["field_violations"].as_array().unwrap();
    let fields: Vec<_> = violations.iter().map(|v| v["field"].as_str().unwrap()).collect();
    let expected =
        ["task.task_typ", "task.priority", "request", "validate_only", "request_id", "task.name"];
    assert_eq!(fields, expected, "{violations:#?}");

    let other = r#"{"task_id":"another"}"#;
    let error = refusal("/v1/tasks/train-1-0123456789abc:cancel", other).await;
    assert!(error["message"].as_str().unwrap().contains("differs from what the path says"));
    let answer = http.get("/v1/tasks?filter=%ff").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
    let answer = http.get("/v1/tasks/%ff%fe").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
    let xml = [("content-type", "application/xml")];
    let answer = http.send(Method::POST, "/v1/tasks", &xml, "<a/>").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let packed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let answer = http.send(Method::POST, "/v1/tasks", &packed, "x").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("gzip"), "{answer:?}");
    let filter = r#"{"filter":"state = FAILED"}"#;
    let answer = http.send(Method::GET, "/v1/tasks", &[], filter).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("into the query"));
    let answer = http.send(Method::GET, "/v1/tasks", &[], "{}").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let long = format!("/v1/tasks?filter={}", "x".repeat(9_000));
    assert_eq!(http.get(&long).await.status, StatusCode::URI_TOO_LONG);
    t.stop().await;
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_told_what_is() {
    let t = TestBroker::start().await;
    for is_http2 in [false, true] {
        let http = Caller { address: t.address, is_http2 };
        let answer = http.get("/v1/task").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        let message = answer.json()["error"]["message"].clone();
        assert!(message.as_str().unwrap().contains("GET /v1/tasks meant?"), "{message}");
        let answer = http.post("/v1/tasks/t-1:cancle", &json!({})).await;
        let message = answer.json()["error"]["message"].clone();
        assert!(message.as_str().unwrap().contains("{task_id}:cancel meant?"), "{message}");
        assert_eq!(http.get("/").await.status, StatusCode::NOT_FOUND);

        let answer = http.send(Method::PUT, "/v1/tasks", &[], "{}").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS, POST");
        let answer = http.send(Method::OPTIONS, "/v1/tasks/t-1", &[], "").await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert_eq!(answer.header("allow"), "DELETE, GET, HEAD, OPTIONS, PATCH");
        let head = http.send(Method::HEAD, "/v1/tasks", &[], "").await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
        let missing = http.send(Method::HEAD, "/v1/tasks/t-1", &[], "").await;
        assert_eq!((missing.status, missing.body.len()), (StatusCode::BAD_REQUEST, 0));
    }
    let http = Caller::http1(t.address);
    let grpc = [("content-type", "application/grpc")];
    let path = "/asyncflow.v1.BrokerService/GetTask";
    let answer = http.send(Method::POST, path, &grpc, "").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("HTTP/2"));
    t.stop().await;
}

#[tokio::test]
async fn limits_and_load_are_those_of_grpc() {
    let t = TestBroker::with(&[
        ("limits.message_bytes_max", "1048576"),
        ("listen.parked_calls_max", "1"),
    ])
    .await;
    let http = Caller::http1(t.address);
    let body = json!({ "task_type": "a", "payload": { "json": "x".repeat(1_500_000) } });
    let answer = http.post("/v1/tasks", &body).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    assert_eq!(answer.json()["error"]["details"][0]["reason"], "MESSAGE_TOO_LARGE");
    let body = "x".repeat(3_000_000);
    let answer = http.send(Method::POST, "/v1/tasks", &[], body).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");

    let watch = "/v1/tasks:watch?filter=task_type+%3D+a";
    let held = http.open(Method::GET, watch, &[], "").await;
    assert_eq!(held.status(), StatusCode::OK);
    let answer = http.get(watch).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((answer.header("retry-after"), reason(&answer)), ("1", "OVERLOADED".to_owned()));
    drop(held);
    // The place is free as soon as the broker hears that the first one is gone.
    while http.open(Method::GET, watch, &[], "").await.status() != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    t.stop().await;
}

fn reason(answer: &Answer) -> String {
    let line = answer.body.split(|byte| *byte == b'\n').next().unwrap();
    let error: Value = serde_json::from_slice(line).unwrap_or_default();
    let details = error["error"]["details"].as_array().cloned().unwrap_or_default();
    details.iter().find_map(|detail| detail["reason"].as_str()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_deadline_is_kept() {
    let mut t = TestBroker::start().await;
    let id = t.create("train").await.id;
    let http = Caller::http1(t.address);
    let path = format!("/v1/tasks/{id}:wait?timeout=30s");
    let answer = http.send(Method::GET, &path, &[("grpc-timeout", "100m")], "").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{answer:?}");
    assert_eq!(reason(&answer), "DEADLINE_EXCEEDED");
    t.stop().await;
}

#[tokio::test]
async fn who_calls_is_known_by_the_same_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "ana:client:ana-0123456789-0123456789\n").unwrap();
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).unwrap();
    let t = TestBroker::with(&[("listen.auth.tokens_file", tokens.to_str().unwrap())]).await;
    let http = Caller::http1(t.address);
    // Nothing of the body is looked at.
    let refused = http.send(Method::POST, "/v1/tasks", &[], "{").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    assert_eq!(reason(&refused), "UNAUTHENTICATED");
    let ana = [("authorization", "Bearer ana-0123456789-0123456789"), ("host", "broker.example")];
    let body = r#"{"task_type":"a"}"#;
    let created = http.send(Method::POST, "/v1/tasks", &ana, body).await;
    assert_eq!(created.json()["task"]["user"], "ana", "{created:?}");
    let body = r#"{"worker_id":"w","incarnation":"a","task_types":["a"],"slots":1}"#;
    let refused = http.send(Method::POST, "/v1/workers:register", &ana, body).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    t.stop().await;
}

#[tokio::test]
async fn a_page_that_is_not_named_is_refused() {
    let t = TestBroker::start().await;
    let http = Caller::http1(t.address);
    let body = r#"{"task_type":"a"}"#;
    let plain = ("content-type", "text/plain");
    let page = [("origin", "https://evil.example"), plain];
    let refused = http.send(Method::POST, "/v1/tasks", &page, body).await;
    assert_eq!(
        (refused.status, reason(&refused).as_str()),
        (StatusCode::FORBIDDEN, "ORIGIN_REFUSED")
    );
    let rebound = [("host", "evil.example:7070"), plain];
    let refused = http.send(Method::POST, "/v1/tasks", &rebound, body).await;
    assert_eq!(
        (refused.status, reason(&refused).as_str()),
        (StatusCode::FORBIDDEN, "HOST_REFUSED")
    );
    let preflight = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    let answer = http.send(Method::OPTIONS, "/v1/tasks", &preflight, "").await;
    assert_eq!(answer.header("access-control-allow-origin"), "", "{answer:?}");
    let counted = http.get("/v1/tasks:count").await.json();
    assert_eq!(counted["total"], "0");
    t.stop().await;
}
