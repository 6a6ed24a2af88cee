//! Streams: events that are gone on with, lines, and lines that are sent.

use asyncflow_proto::v1::{self, TaskState};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::caller::{Caller, Events};
use crate::harness::{TestBroker, complete};

const PLAIN: &str = "text/plain; charset=utf-8";
const EVENTS: (&str, &str) = ("accept", "text/event-stream");

#[tokio::test]
async fn a_watch_by_events_goes_on_where_it_broke() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let path = format!("/v1/tasks:watch?task_ids={}&until_done=true", task.id);
    for is_http2 in [false, true] {
        let http = Caller { address: t.address, is_http2 };
        let mut events = Events::of(http.open(Method::GET, &path, &[EVENTS], "").await);
        let first = events.next().await.unwrap();
        assert_eq!(first.data["task"]["id"], task.id);
        assert_eq!(first.data["task"]["state"], "TASK_STATE_PENDING");
        assert!(!first.id.is_empty() && first.data["resume_token"] == first.id);
        assert_eq!(first.name, "");
    }

    let http = Caller::http1(t.address);
    let mut events = Events::of(http.open(Method::GET, &path, &[EVENTS], "").await);
    let mut last = events.next().await.unwrap();
    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    while last.data["task"]["state"] != "TASK_STATE_RUNNING" {
        last = events.next().await.unwrap();
    }
    drop(events);
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();

    // As a browser does: the same address, and how far it was.
    let resume = [EVENTS, ("last-event-id", last.id.as_str())];
    let mut events = Events::of(http.open(Method::GET, &path, &resume, "").await);
    let mut states = Vec::new();
    loop {
        let event = events.next().await.expect("the end is told");
        match event.name.as_str() {
            "end" => break,
            _ => states.push(event.data["task"]["state"].as_str().unwrap().to_owned()),
        }
    }
    assert_eq!(states.last().unwrap(), "TASK_STATE_SUCCEEDED", "{states:?}");
    assert!(!states.contains(&"TASK_STATE_PENDING".to_owned()), "it began anew: {states:?}");
    assert_eq!(events.next().await, None);

    let bad = [EVENTS, ("last-event-id", "nonsense")];
    let refused = http.send(Method::GET, &path, &bad, "").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    t.stop().await;
}

#[tokio::test]
async fn a_workflow_is_watched_until_it_is_over() {
    let mut t = TestBroker::start().await;
    let http = Caller::http1(t.address);
    let node = json!({"name": "a", "task": {"task_type": "train"}});
    let created = http.post("/v1/workflows", &json!({"name": "w", "nodes": [node]})).await;
    assert_eq!(created.status, StatusCode::OK, "{created:?}");
    let id = created.json()["workflow"]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/workflows/{id}:watch");
    let mut events = Events::of(http.open(Method::GET, &path, &[EVENTS], "").await);
    let mut last = events.next().await.unwrap();
    assert_eq!(last.data["workflow"]["state"], "WORKFLOW_STATE_RUNNING");
    assert_eq!(last.data["nodes"].as_array().unwrap().len(), 1);
    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    loop {
        let event = events.next().await.expect("the end is told");
        if event.name == "end" {
            break;
        }
        last = event;
    }
    assert_eq!(last.data["workflow"]["state"], "WORKFLOW_STATE_SUCCEEDED");
    t.stop().await;
}

#[tokio::test]
async fn a_drain_ends_a_watch_with_its_reason() {
    let t = TestBroker::start().await;
    let http = Caller::http1(t.address);
    let watch = "/v1/tasks:watch?filter=task_type+%3D+train";
    let mut events = Events::of(http.open(Method::GET, watch, &[EVENTS], "").await);
    let lines = http.open(Method::GET, watch, &[], "").await;
    assert_eq!(lines.headers()["content-type"], "application/jsonl");
    t.drain();
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    let last = last.unwrap();
    assert_eq!((last.name.as_str(), &last.data["error"]["code"]), ("failed", &json!(503)));
    let text = http_body_util::BodyExt::collect(lines.into_body()).await.unwrap().to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(line["error"]["status"], "UNAVAILABLE", "{line}");
    t.stop().await;
}

#[tokio::test]
async fn tasks_are_created_line_by_line() {
    let mut t = TestBroker::start().await;
    let http = Caller::http1(t.address);
    let of = |kind: &str| json!({ "requests": [{ "task": { "task_type": kind } }] }).to_string();
    let body = format!("{}\n\n{}\r\n{}", of("train"), of("no such type!"), of("infer"));
    let jsonl = [("content-type", "application/jsonl")];
    let answer = http.send(Method::POST, "/v1/tasks:streamCreate", &jsonl, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    let id = lines[0]["results"][0]["task_id"].as_str().unwrap();
    assert_eq!(t.get(id).await.state(), TaskState::Pending);
    assert_eq!(lines[1]["results"][0]["error"]["code"], 3);
    assert!(lines[2]["results"][0].get("error").is_none());

    let bad = format!("{}\n{{\"requests\": 1}}\n", of("train"));
    let answer = http.send(Method::POST, "/v1/tasks:streamCreate", &jsonl, bad).await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let violation = &last["error"]["details"][1]["field_violations"][0];
    assert_eq!(violation["field"], "requests", "{text}");
    t.stop().await;
}

#[tokio::test]
async fn a_log_comes_piece_by_piece() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    let chunk = v1::LogChunk {
        lease: leased.lease.clone(),
        stream: v1::LogStream::Stdout.into(),
        data: "epoch 1\n".into(),
        ..Default::default()
    };
    let push = v1::PushTaskLogsRequest { session_id: session.clone(), chunks: vec![chunk] };
    t.worker.push_task_logs(push).await.unwrap();
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    let http = Caller::http1(t.address);
    let path = format!("/v1/tasks/{}/logs", task.id);
    let mut events = Events::of(http.open(Method::GET, &path, &[EVENTS], "").await);
    let piece = events.next().await.unwrap();
    assert_eq!(piece.data["data"], "ZXBvY2ggMQo=");
    assert_eq!(
        (&piece.data["stream"], &piece.data["offset"]),
        (&json!("LOG_STREAM_STDOUT"), &json!("0"))
    );
    assert_eq!(events.next().await.unwrap().name, "end");
    let text = http.send(Method::GET, &path, &[("accept", "text/plain")], "").await;
    assert_eq!((text.header("content-type"), &text.body[..]), (PLAIN, &b"epoch 1\n"[..]));
    let head = http.send(Method::HEAD, &path, &[], "").await;
    assert_eq!(head.status, StatusCode::METHOD_NOT_ALLOWED, "a stream has no end to wait for");
    t.stop().await;
}
