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

#[test]
fn a_shard_is_rolled_and_dropped_when_nothing_stands_in_the_way() {
    let dev = Dev::start();
    let id = dev.idle_task(&[]);
    let rolled = dev.call(&["shard", "roll", "idle", "-o", "json"]).expect_code(0).json();
    assert_eq!((&rolled["number"], &rolled["state"]), (&2.into(), &"OPEN".into()));
    dev.call(&["shard", "roll", "nosuch"]).expect_code(3);

    let check = ["shard", "drop", "idle-1", "--dry-run", "-o", "json"];
    let obstacle = dev.call(&check).expect_code(0).json()["obstacle"].clone();
    assert!(obstacle.as_str().unwrap().contains("not terminal"), "{obstacle}");
    // Nobody is asked to say --yes to what cannot be done.
    let refused = dev.call(&["shard", "drop", "idle-1"]).expect_code(1);
    assert!(refused.stderr.contains("not terminal"), "{refused:?}");
    dev.call(&["task", "cancel", &id]).expect_code(0);
    let refused = dev.call(&["shard", "archive", "idle-1"]).expect_code(1);
    assert!(refused.stderr.contains("NO_ARCHIVE"), "{refused:?}");
    let asked = dev.call(&["shard", "drop", "idle-1"]).expect_code(2);
    assert!(asked.stderr.contains("--yes") && asked.stderr.contains("1 task"), "{asked:?}");
    dev.call(&["task", "get", &id]).expect_code(0);
    let dropped = dev.call(&["shard", "drop", "idle-1", "--yes", "-o", "json"]).expect_code(0);
    let dropped = dropped.json();
    assert_eq!((&dropped["rows"], &dropped["shard"]["state"]), (&1.into(), &"GONE".into()));
    let gone = dev.call(&["task", "get", &id]).expect_code(3);
    assert!(gone.stderr.contains("EXPIRED"), "{gone:?}");
    dev.call(&["shard", "drop", "idle-9"]).expect_code(3);
}
