//! `asyncflow shard …`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::dev_process::Dev;

#[test]
fn shards_are_listed_with_rows_size_and_age() {
    let dev = Dev::start();
    dev.idle_task(&[]);
    dev.idle_task(&[]);
    let list = |args: &[&str]| dev.call(&[&["shard", "list"], args].concat()).expect_code(0);
    assert_eq!(list(&["-o", "id"]).lines(), ["idle-1"]);
    assert_eq!(list(&["-t", "other", "-o", "id"]).stdout, "");

    let shard = &list(&["-o", "json"]).json()[0];
    assert_eq!((&shard["task_type"], &shard["number"]), (&"idle".into(), &1.into()));
    assert_eq!((&shard["state"], &shard["rows"]), (&"OPEN".into(), &2.into()));
    assert_eq!(shard["counts"], serde_json::json!([{"state": "SCHEDULED", "rows": 2}]));
    assert!(shard["size_bytes"].as_i64().unwrap() > 0, "{shard}");
    assert!(shard["create_time"].as_str().unwrap().ends_with('Z'), "{shard}");
    assert!(shard["close_time"].is_null() && shard["drain_time"].is_null(), "{shard}");

    let table = list(&[]);
    let lines = table.lines();
    assert!(lines[0].contains("SIZE") && lines[0].contains("CREATED"), "{}", lines[0]);
    assert!(lines[1].contains("KiB") && lines[1].contains("ago"), "{}", lines[1]);
}
