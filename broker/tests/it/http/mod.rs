//! The calls as JSON over HTTP/1.1 and HTTP/2, and by gRPC-Web, on the port of gRPC.

mod caller;
mod document;
mod refusals;
mod streams;

use asyncflow_proto::v1;
use caller::Caller;
use http::{Method, StatusCode};
use serde_json::json;

use crate::harness::{TestBroker, complete};

#[tokio::test]
async fn a_task_lives_its_life_by_either_version_of_http() {
    let mut t = TestBroker::start().await;
    for is_http2 in [false, true] {
        let http = Caller { address: t.address, is_http2 };
        let spec = json!({
            "taskType": "infer", "payload": { "json": { "prompt": "hi" } }, "labels": { "a": "b" },
        });
        let query = format!("/v1/tasks?request_id=r-{is_http2}");
        let created = http.post(&query, &spec).await;
        assert_eq!(created.status, StatusCode::OK, "{created:?}");
        assert_eq!(created.header("content-type"), "application/json");
        assert!(created.header("traceparent").starts_with("00-"), "{created:?}");
        let created = created.json();
        assert_eq!(created["deduplicated"], false);
        let id = created["task"]["id"].as_str().unwrap().to_owned();
        let again = http.post(&query, &spec).await.json();
        assert_eq!((&again["deduplicated"], &again["task"]["id"]), (&json!(true), &json!(id)));

        let got = http.get(&format!("/v1/tasks/{id}")).await.json();
        assert_eq!(got["task"]["state"], "TASK_STATE_PENDING");
        assert_eq!(got["task"]["payload"]["json"], json!({ "prompt": "hi" }));
        assert_eq!(got["task"]["labels"], json!({ "a": "b" }));
        let listed = http.get("/v1/tasks?filter=labels.a+%3D+%22b%22&pageSize=1").await.json();
        assert_eq!(listed["tasks"][0]["id"], json!(id));
        let counted = http.get("/v1/tasks:count?states=TASK_STATE_PENDING&states=8").await.json();
        assert_eq!(counted["total"], "1", "{counted}");

        let session = t.register(&format!("w-{is_http2}"), "a").await;
        let leased = t.start_one(&session, "1").await;
        assert_eq!(leased.task.as_ref().unwrap().id, id);
        let patched = http
            .send(
                Method::PATCH,
                &format!("/v1/tasks/{id}?update_mask=labels"),
                &[("content-type", "application/json")],
                json!({ "labels": { "a": "c" } }).to_string(),
            )
            .await;
        assert_eq!(patched.json()["task"]["labels"], json!({ "a": "c" }), "{patched:?}");
        t.worker.complete_task(complete(&session, &leased)).await.unwrap();
        let waited = http.get(&format!("/v1/tasks/{id}:wait?timeout=5s")).await.json();
        assert_eq!(waited["done"], true);
        assert_eq!(waited["task"]["state"], "TASK_STATE_SUCCEEDED");
        let attempts = http.get(&format!("/v1/tasks/{id}/attempts")).await.json();
        assert_eq!(attempts["attempts"][0]["outcome"], "ATTEMPT_OUTCOME_SUCCEEDED");
        let deleted = http.send(Method::DELETE, &format!("/v1/tasks/{id}"), &[], "").await;
        assert_eq!((deleted.status, deleted.json()), (StatusCode::OK, json!({})));
        let gone = http.get(&format!("/v1/tasks/{id}")).await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND);
    }
    t.stop().await;
}

#[tokio::test]
async fn what_curl_sends_without_a_word_about_it_is_json() {
    let t = TestBroker::start().await;
    let http = Caller::http1(t.address);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = r#"{"task_type":"infer"}"#;
    let created = http.send(Method::POST, "/v1/tasks", &form, body).await.json();
    let path = format!("/v1/tasks/{}:cancel", created["task"]["id"].as_str().unwrap());
    let cancelled = http.send(Method::POST, &path, &form, "").await.json();
    assert_eq!(cancelled["task"]["state"], "TASK_STATE_CANCELLED");
    let checked = http.send(Method::POST, "/v1/tasks?validate_only=true", &[], body).await.json();
    assert_eq!(checked["task"]["id"], "");
    t.stop().await;
}

#[tokio::test]
async fn a_worker_needs_no_grpc() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let http = Caller::http1(t.address);
    let hello = json!({
        "worker_id": "w", "incarnation": "a", "task_types": ["train"], "slots": 1,
    });
    let session = http.post("/v1/workers:register", &hello).await.json()["session_id"].clone();
    let acquire = json!({
        "session_id": session, "acquire_id": "1", "max_tasks": 1, "wait": "5s", "start": true,
    });
    let acquired = http.post("/v1/workers:acquireTasks", &acquire).await.json();
    let lease = &acquired["tasks"][0]["lease"];
    assert_eq!(lease, &json!({ "task_id": task.id, "attempt": 1 }));
    let save = json!({
        "session_id": session, "lease": lease, "stage": "one", "context": { "json": [1] },
    });
    let saved = http.post("/v1/workers:saveContext", &save).await.json();
    assert_eq!(saved["context_version"], "1");
    let beat = json!({ "session_id": session, "leases": [lease] });
    let beaten = http.post("/v1/workers:heartbeat", &beat).await.json();
    assert_eq!(beaten["leases"][0]["verdict"], "LEASE_VERDICT_OK");
    let done = json!({ "session_id": session, "lease": lease, "result": { "json": null } });
    let settled = http.post("/v1/workers:completeTask", &done).await.json();
    assert_eq!(settled["state"], "TASK_STATE_SUCCEEDED");
    let got = t.get(&task.id).await;
    assert_eq!((got.stage.as_str(), &got.result.unwrap().data[..]), ("one", &b"null"[..]));
    t.stop().await;
}

#[tokio::test]
async fn a_page_calls_by_grpc_web() {
    let mut t = TestBroker::with(&[("listen.cors_origins", r#"["https://board.example"]"#)]).await;
    let task = t.create("train").await;
    let http = Caller::http1(t.address);
    let preflight = [
        ("origin", "https://board.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,x-grpc-web"),
    ];
    let path = "/asyncflow.v1.BrokerService/GetTask";
    let allowed = http.send(Method::OPTIONS, path, &preflight, "").await;
    assert_eq!(allowed.status, StatusCode::OK);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://board.example");
    assert!(allowed.header("access-control-allow-headers").contains("x-grpc-web"), "{allowed:?}");

    let message =
        prost::Message::encode_to_vec(&v1::GetTaskRequest { task_id: task.id.clone(), view: 0 });
    let mut body = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    body.extend(message);
    let headers = [
        ("origin", "https://board.example"),
        ("content-type", "application/grpc-web+proto"),
        ("x-grpc-web", "1"),
    ];
    let answer = http.send(Method::POST, path, &headers, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), "https://board.example");
    assert!(answer.header("access-control-expose-headers").contains("grpc-status"));
    let length = u32::from_be_bytes(answer.body[1..5].try_into().unwrap()) as usize;
    let got: v1::GetTaskResponse = prost::Message::decode(&answer.body[5..5 + length]).unwrap();
    assert_eq!(got.task.unwrap().id, task.id);
    let trailers = &answer.body[5 + length..];
    assert_eq!(trailers[0], 0x80);
    assert!(String::from_utf8_lossy(trailers).contains("grpc-status:0"), "{trailers:?}");
    t.stop().await;
}
