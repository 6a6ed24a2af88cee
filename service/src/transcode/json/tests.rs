#![allow(clippy::unwrap_used, reason = "tests")]

use super::{Problem, line, read, text};
use asyncflow_proto::{FILE_DESCRIPTOR_SET, v1};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::{Value, json};

fn message(name: &str) -> MessageDescriptor {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    pool.get_message_by_name(&format!("asyncflow.v1.{name}")).unwrap()
}

fn spec(json: &Value) -> v1::TaskSpec {
    let read = read(json.to_string().as_bytes(), &message("TaskSpec"), "task").unwrap();
    v1::TaskSpec::decode(read.encode_to_vec().as_slice()).unwrap()
}

fn violations(name: &str, text: &str) -> Vec<String> {
    match read(text.as_bytes(), &message(name), "task") {
        Err(Problem::Invalid(found)) => {
            found.into_iter().map(|v| format!("{}: {}", v.field, v.description)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn malformed(text: &str) -> String {
    match read(text.as_bytes(), &message("TaskSpec"), "") {
        Err(Problem::Malformed(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn written(name: &str, value: &impl Message) -> Value {
    let bytes = value.encode_to_vec();
    let dynamic = DynamicMessage::decode(message(name), bytes.as_slice()).unwrap();
    serde_json::from_slice(&text(&dynamic).unwrap()).unwrap()
}

#[test]
fn both_spellings_and_all_kinds_are_read() {
    let read = spec(&json!({
        "task_type": "train",
        "maxRunningTime": "90.5s",
        "not_before": "2026-01-31T12:00:00Z",
        "priority": "-7",
        "labels": { "a": "b" },
        "command": { "program": "sh", "args": ["-c", "true"], "environment": { "X": "1" } },
        "payload": { "data": "_-8", "contentType": "x" },
        "after": [{ "task_id": "t", "anyEnd": true }],
        "resources": { "gpus": 1.0, "gpuMemoryBytes": "9007199254740993", "cpus": "0.5" },
        "retry": null,
        "on_success": [{ "task_type": "report" }],
    }));
    assert_eq!((read.task_type.as_str(), read.priority), ("train", Some(-7)));
    let time = read.max_running_time.unwrap();
    assert_eq!((time.seconds, time.nanos), (90, 500_000_000));
    assert_eq!(read.not_before.unwrap().seconds, 1_769_860_800);
    assert_eq!(read.labels["a"], "b");
    assert_eq!(read.command.unwrap().args, ["-c", "true"]);
    let payload = read.payload.unwrap();
    assert_eq!((&payload.data[..], payload.content_type.as_str()), (&[255_u8, 239][..], "x"));
    assert!(read.after[0].any_end && read.retry.is_none());
    let resources = read.resources.unwrap();
    assert_eq!((resources.gpus, resources.cpus), (1, 0.5));
    assert_eq!(resources.gpu_memory_bytes, 9_007_199_254_740_993);
    assert_eq!(read.on_success[0].task_type, "report");
}

#[test]
fn a_content_is_the_json_that_it_holds() {
    let text =
        br#"{"task_type":"t","payload":{"json": {"z":1, "a":[1e400,123456789012345678901]}}}"#;
    let read = read(text, &message("TaskSpec"), "").unwrap();
    let read = v1::TaskSpec::decode(read.encode_to_vec().as_slice()).unwrap();
    let payload = read.payload.unwrap();
    assert_eq!(payload.content_type, "application/json");
    let kept: &[u8] = br#"{"z":1, "a":[1e400,123456789012345678901]}"#;
    assert_eq!(payload.data, kept, "neither order nor digits are lost");

    let content = |kind: &str, data: &[u8]| v1::Content {
        data: data.to_vec().into(),
        content_type: kind.to_owned(),
    };
    let json = content("application/json", b"{\"a\":\r\n[1]}");
    assert_eq!(
        written("Content", &json),
        json!({ "content_type": "application/json", "json": { "a": [1] } })
    );
    let dynamic =
        DynamicMessage::decode(message("Content"), json.encode_to_vec().as_slice()).unwrap();
    assert!(!line(&dynamic).unwrap().iter().any(|byte| matches!(byte, b'\n' | b'\r')));
    for (kind, data) in [("application/json", "{"), ("application/json", "1 2"), ("", "{}")] {
        let written = written("Content", &content(kind, data.as_bytes()));
        assert!(written["data"].is_string() && written.get("json").is_none(), "{written}");
    }
    assert_eq!(
        violations("Content", r#"{"json":1,"data":"QQ==","content_type":"text/plain"}"#).len(),
        2
    );
    assert_eq!(violations("Content", r#"{"text":"x"}"#).len(), 1);
}

#[test]
fn all_that_does_not_fit_is_told_with_its_place() {
    let found = violations(
        "TaskSpec",
        r#"{"task_typ": 1, "task_type": 5, "priority": 3000000000, "labels": {"a": 1},
            "after": [{}, {"task_id": [], "any_end": "yes"}, null], "command": "sh",
            "max_running_time": "12h", "signals": {}, "name": "a", "name": "b",
            "resources": {"gpus": 1.5}, "payload": {"data": "*"}}"#,
    );
    let expected = [
        "task.task_typ: is no field of TaskSpec; is task_type meant?",
        "task.task_type: must be a text",
        "task.priority: must be a whole number that fits in 32 bits",
        "task.labels[\"a\"]: must be a text",
        "task.after[1].task_id: must be a single value, not a list or an object",
        "task.after[1].any_end: must be true or false",
        "task.after[2]: must not be null",
        "task.command: must be an object",
        "task.max_running_time: must be a duration in seconds such as \"90s\" or \"1.5s\"",
        "task.signals: must be a list",
        "task.name: is given twice",
        "task.resources.gpus: must be a whole number",
        "task.payload.data: is no base64: Invalid symbol 42, offset 0.",
    ];
    assert_eq!(found, expected);
    let found = violations("Task", r#"{"state": "RUNNING", "attempt": true}"#);
    assert!(found[0].starts_with("task.state: is \"RUNNING\", which is none of TASK_STATE_UN"));
    assert_eq!(found.len(), 2);
    assert_eq!(violations("WorkflowNode", r#"{"task": {}, "map": {}}"#).len(), 1);
    let many =
        format!("{{{}}}", (0..500).map(|n| format!("\"x{n}\":1")).collect::<Vec<_>>().join(","));
    assert_eq!(violations("TaskSpec", &many).len(), 100, "the answer stays small");
}

#[test]
fn what_is_no_json_is_told_with_line_and_column() {
    assert_eq!(
        malformed("{\n  \"labels\": {\"a\" \"b\"}}"),
        "the JSON cannot be read: expected `:` at line 2, column 18, in labels[\"a\"]"
            .replace("line 2, column", "line 2 column")
    );
    for text in ["", "{", "[1", "{\"name\": \"\u{1}\"}", "{} {}", "{'a':1}", "nul", "\"\\ud800\""] {
        let message = malformed(text);
        assert!(message.contains("at line 1 column"), "{text:?}: {message}");
    }
    let nested = |levels: usize| {
        let text = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        format!("{{\"payload\":{{\"json\":{text}}}}}")
    };
    assert!(read(nested(128).as_bytes(), &message("TaskSpec"), "").is_ok());
    assert!(read(nested(129).as_bytes(), &message("TaskSpec"), "").is_err());
    let in_text = format!("{{\"payload\":{{\"json\":\"{}\\\"[\"}}}}", "[".repeat(200));
    assert!(read(in_text.as_bytes(), &message("TaskSpec"), "").is_ok(), "{in_text}");
    let deep = format!("{{\"on_success\":{}", "[{\"on_success\":".repeat(200));
    assert!(malformed(&deep).contains("recursion limit"), "{}", malformed(&deep));
    assert!(read(b"{\"name\":\"\xff\"}", &message("TaskSpec"), "").is_err());
}

#[test]
fn answers_have_what_has_no_presence_and_leave_out_what_is_unset() {
    let mut task = v1::Task { id: "t-1".to_owned(), context_version: 5, ..Default::default() };
    task.set_state(v1::TaskState::Running);
    task.create_time = Some(prost_types::Timestamp { seconds: 0, nanos: 5_000_000 });
    task.progress = Some(v1::Progress {
        percent: None,
        message: String::new(),
        metrics: [("b".to_owned(), f64::NAN), ("a".to_owned(), 1.5)].into(),
    });
    let json = written("Task", &task);
    assert_eq!(json["state"], "TASK_STATE_RUNNING");
    assert_eq!((&json["context_version"], &json["attempt"]), (&json!("5"), &json!(0)));
    assert_eq!(json["create_time"], "1970-01-01T00:00:00.005Z");
    assert_eq!((&json["labels"], &json["waits_for"]), (&json!({}), &json!([])));
    for unset in ["payload", "finish_time", "failure", "command"] {
        assert!(json.get(unset).is_none(), "{unset}: {json}");
    }
    assert_eq!(json["progress"]["metrics"], json!({ "a": 1.5, "b": "NaN" }));
    let unknown = v1::Task { state: 99, ..Default::default() };
    assert_eq!(written("Task", &unknown)["state"], 99);

    // What is written can be read again.
    let again = read(json.to_string().as_bytes(), &message("Task"), "").unwrap();
    let again = v1::Task::decode(again.encode_to_vec().as_slice()).unwrap();
    assert_eq!(again.create_time, task.create_time);
    assert!(again.progress.unwrap().metrics["b"].is_nan());
}
