//! AttemptService as JSON over HTTP/1.1 on the worker's Unix socket: what a task in a language
//! without gRPC calls.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../sdk/rust/tests/fake/mod.rs"]
#[allow(dead_code, reason = "shared with the runtime's tests")]
mod fake;
#[allow(dead_code, reason = "shared between test programs")]
mod support;

use fake::{FakeBroker, Settled, command_task};
use serde_json::{Value, json};
use support::Worker;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

struct Caller {
    socket: String,
    token: String,
}

impl Caller {
    /// One call on a connection of its own: status and body.
    async fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: worker\r\nconnection: close\r\n\
             content-type: application/json\r\nasyncflow-attempt-token: {}\r\n\
             content-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
    }

    async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, &body.to_string()).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }
}

/// A task that tells where it may call, and ends with this code when `go` is there.
async fn begin(broker: &FakeBroker, worker: &Worker, id: &str, code: i32) -> Caller {
    let go = worker.dir.path().join("go");
    let script = format!(
        "echo $ASYNCFLOW_SOCKET $ASYNCFLOW_ATTEMPT_TOKEN; \
         until test -e {}; do sleep 0.01; done; exit {code}",
        go.display()
    );
    broker.add(command_task(id, "sh", &["-ec", &script]));
    let key = (id.to_owned(), 1);
    let said = broker
        .until("the address", |state| {
            let log = String::from_utf8(state.logs.get(&key)?.clone()).ok()?;
            log.ends_with('\n').then_some(log)
        })
        .await;
    let (socket, token) = said.trim().split_once(' ').unwrap();
    Caller { socket: socket.to_owned(), token: token.to_owned() }
}

#[tokio::test]
async fn a_task_without_grpc_reads_saves_and_hands_in_its_result() {
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |_| {});
    let caller = begin(&broker, &worker, "command-1-http", 0).await;

    let own = caller.ok("GET", "/v1/attempt", json!({})).await;
    assert_eq!(own["attempt"], 1);
    assert_eq!(own["task"]["id"], "command-1-http");
    assert_eq!(own["task"]["command"]["program"], "sh");

    let save = json!({ "stage": "fit", "context": { "json": { "epoch": 3, "b": [1.5] } } });
    let saved = caller.ok("POST", "/v1/attempt:saveContext", save).await;
    assert_eq!(saved, json!({ "context_version": "1" }));
    let call = broker.state().contexts[0].clone();
    let context = call.context.unwrap();
    assert_eq!(call.stage.as_deref(), Some("fit"));
    assert_eq!(&context.data[..], br#"{"b":[1.5],"epoch":3}"#);
    assert_eq!(context.content_type, "application/json");

    let report =
        json!({ "progress": { "percent": 40, "metrics": { "loss": 0.25, "lr": "0.0003" } } });
    let reported = caller.ok("POST", "/v1/attempt:reportProgress", report).await;
    assert_eq!(reported, json!({}));
    // It is sent on within a second.
    let find = |state: &fake::State| state.progress.get("command-1-http").cloned();
    let progress = broker.until("the progress", find).await;
    assert_eq!(progress.percent, Some(40.0));
    assert_eq!((progress.metrics["loss"], progress.metrics["lr"]), (0.25, 3e-4));
    let stop = caller.ok("GET", "/v1/attempt:shouldStop", json!({})).await;
    assert_eq!(stop, json!({ "should_stop": false, "reason": "" }));
    let result = json!({ "result": { "json": { "accuracy": 0.97 } } });
    caller.ok("POST", "/v1/attempt:setResult", result).await;

    std::fs::write(worker.dir.path().join("go"), "").unwrap();
    let Settled::Completed(call) = broker.settled("command-1-http").await else {
        panic!("not completed")
    };
    assert_eq!(&call.result.unwrap().data[..], br#"{"accuracy":0.97}"#);
    assert_eq!(caller.call("GET", "/v1/attempt", "").await.0, 401, "the attempt is over");
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_said() {
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |_| {});
    let mut caller = begin(&broker, &worker, "command-1-wrong", 3).await;

    let (status, answer) =
        caller.call("POST", "/v1/attempt:saveContext", r#"{"stage":"a","contxt":{}}"#).await;
    assert_eq!((status, &answer["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
    let violation = &answer["error"]["details"][1]["field_violations"][0];
    assert_eq!(violation["field"], "contxt", "{answer}");
    assert!(violation["description"].as_str().unwrap().contains("is context meant?"), "{answer}");
    let large = json!({ "result": { "data": "A".repeat(90_000) } }).to_string();
    let (status, answer) = caller.call("POST", "/v1/attempt:setResult", &large).await;
    assert_eq!((status, &answer["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
    let (status, answer) = caller.call("GET", "/v1/attempt:stop", "").await;
    assert_eq!(status, 404, "{answer}");
    let (status, _) = caller.call("PUT", "/v1/attempt", "").await;
    assert_eq!(status, 405);
    caller.token = "wrong".to_owned();
    assert_eq!(caller.call("GET", "/v1/attempt", "").await.0, 401);
    assert!(broker.state().contexts.is_empty());
    std::fs::write(worker.dir.path().join("go"), "").unwrap();
    broker.settled("command-1-wrong").await;
}
