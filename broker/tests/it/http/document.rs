//! What is told of the calls.

use std::{fs, path::Path};

use asyncflow_broker::http_api;
use http::{Method, StatusCode};
use serde_json::Value;

use super::caller::Caller;
use crate::harness::TestBroker;

#[test]
fn every_call_can_be_made_over_http() {
    assert_eq!(http_api().unwrap().calls_without_route(), [""; 0]);
}

#[test]
fn the_committed_document_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let fresh = http_api().unwrap().document();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let hint = "run: UPDATE_GENERATED=1 cargo test -p asyncflow-broker --test it document";
    let committed = fs::read(path).unwrap_or_default();
    assert!(committed == fresh, "docs/openapi.json is not what the .proto files say; {hint}");
}

#[tokio::test]
async fn the_document_is_served_and_tells_of_every_call() {
    let t = TestBroker::start().await;
    let http = Caller::http1(t.address);
    let answer = http.get("/v1/openapi.json").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (StatusCode::OK, "application/json")
    );
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let create = &document["paths"]["/v1/tasks"]["post"];
    assert_eq!(create["operationId"], "CreateTask");
    let schema = &create["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(schema["$ref"], "#/components/schemas/TaskSpec");
    let names: Vec<_> =
        create["parameters"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["request_id", "validate_only"]);
    let described =
        document["components"]["schemas"]["TaskSpec"]["properties"]["task_type"].clone();
    assert!(described["description"].as_str().unwrap().len() > 10, "{described}");
    check_references(&document, &document);

    let head = http.send(Method::HEAD, "/v1/openapi.json", &[], "").await;
    assert_eq!(head.header("content-length"), answer.body.len().to_string());
    assert!(head.body.is_empty());
    t.stop().await;
}

fn check_references(value: &Value, document: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let found = document.pointer(reference.strip_prefix('#').unwrap());
                assert!(found.is_some_and(Value::is_object), "{reference} is not there");
            }
            fields.values().for_each(|value| check_references(value, document));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(value, document)),
        _ => {}
    }
}
