//! `asyncflow workflow …`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::dev_process::Dev;
use std::fs;

const FILE: &str = r#"
name: digits
labels: {team: vision}
input: {epochs: 3}
nodes:
  - name: train
    chord:
      members:
        - task: {type: idle, payload: {lr: 0.1}}
        - task: {type: idle, payload: {lr: 0.01}}
      callback:
        task: {type: idle}
  - name: report
    depends_on: [train]
    when: all_done
    task: {type: idle}
"#;

#[test]
fn a_file_becomes_a_workflow_that_is_shown_listed_and_cancelled() {
    let dev = Dev::start();
    let file = dev.dir().join("digits.yaml");
    fs::write(&file, FILE).unwrap();
    let file = file.to_str().unwrap();
    let check = dev.call(&["workflow", "create", "-f", file, "--validate-only"]).expect_code(0);
    assert_eq!(check.stdout, "");
    let create = ["workflow", "create", "-f", file, "--request-id", "r", "-o", "id"];
    let id = dev.call(&create).expect_code(0).stdout.trim().to_owned();
    assert!(id.starts_with("wf-"), "{id}");
    let again = dev.call(&create).expect_code(0);
    assert_eq!(again.stdout.trim(), id);
    assert!(again.stderr.contains("already"), "{again:?}");

    let shown = dev.call(&["workflow", "show", &id, "-o", "json"]).expect_code(0).json();
    assert_eq!(shown["workflow"]["state"], "RUNNING");
    assert_eq!(shown["workflow"]["labels"]["team"], "vision");
    assert_eq!(
        (&shown["nodes"][0]["name"], &shown["nodes"][0]["item_count"]),
        (&"train/members".into(), &2.into())
    );
    let table = dev.call(&["workflow", "show", &id]).expect_code(0).stdout;
    for line in [
        "train/members  RUNNING  0/2",
        "↓ train  WAITING",
        "↓ report  WAITING  after all done of train",
    ] {
        assert!(table.contains(line), "{line:?} is not in\n{table}");
    }

    let items = ["workflow", "items", &id, "--node", "train/members", "-o", "json"];
    let items = dev.call(&items).expect_code(0).json();
    let task = items[1]["task_id"].as_str().unwrap().to_owned();
    // The worker of `dev` may have taken it and given it back.
    assert!(items[1]["index"] == 1 && items[1]["state"].is_string(), "{items}");
    let task = dev.call(&["task", "get", &task, "-o", "json"]).expect_code(0).json();
    assert_eq!(task["workflow_id"], id.as_str());
    assert!(dev.call(&["workflow", "items", &id]).expect_code(0).stdout.contains("train/members"));
    let one = dev.call(&["workflow", "items", &id, "--limit", "1", "-o", "id"]).expect_code(0);
    assert_eq!(one.lines().len(), 1);
    assert!(one.stderr.contains("more than these 1; --limit 0 shows all"), "{one:?}");

    let list = dev.call(&["workflow", "list"]).expect_code(0);
    assert!(list.lines()[1].contains("0/3"), "{list:?}");
    let cancelled = dev.call(&["workflow", "cancel", &id, "-o", "json"]).expect_code(0).json();
    // What is to be done in any case is left to be done.
    assert_eq!(cancelled["state"], "CANCELLING");
    // The members are cancelled beside the call.
    let states = || -> Vec<_> {
        let shown = dev.call(&["workflow", "show", &id, "-o", "json"]).expect_code(0).json();
        (0..3).map(|at| shown["nodes"][at]["state"].clone()).collect()
    };
    let are_cancelled = (0..1_000).any(|_| states()[0] != "STOPPING");
    assert!(are_cancelled, "its members are not cancelled");
    assert_eq!(states(), ["CANCELLED", "CANCELLED", "RUNNING"]);
    let live = dev.call(&["workflow", "retry", &id]).expect_code(1);
    assert!(live.stderr.contains("ILLEGAL_STATE"), "{live:?}");
    dev.call(&["workflow", "show", "wf-0000000000001"]).expect_code(3);
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let dev = Dev::start();
    let file = dev.dir().join("bad.yaml");
    let create = |text: &str, code| {
        fs::write(&file, text).unwrap();
        let args = ["workflow", "create", "-f", file.to_str().unwrap()];
        dev.call(&args).expect_code(code).stderr
    };
    let unknown = create("nodes: [{name: a, tasks: {type: x}}]", 2);
    assert!(unknown.contains("bad.yaml:1:19: nodes[0].tasks: unknown field"), "{unknown}");
    assert!(unknown.contains("should be a workflow: docs/guide/workflows.md"), "{unknown}");
    let ring = "nodes: [{name: a, depends_on: [b], task: {type: x}}, \
                {name: b, depends_on: [a], task: {type: x}}]";
    let ring = create(ring, 1);
    assert!(ring.contains("a → b → a"), "{ring}");
}

#[test]
fn what_the_broker_refuses_is_told_with_its_place_in_the_file() {
    let dev = Dev::start();
    let file = dev.dir().join("wrong.yaml");
    let text = "nodes:\n  - name: mourn\n    when: any_failed\n    run_if: prev.x >\n    \
                task: {type: idle}\n";
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let told = dev.call(&["workflow", "create", "-f", path]).expect_code(1).stderr;
    for (place, what) in [
        (":3:11: nodes[0].when: ", "any_failed needs depends_on: the node \"mourn\""),
        (":4:13: nodes[0].run_if: ", "in the expression \"prev.x >\": line 1, column 9: it ends"),
    ] {
        let line = format!("{path}{place}{what}");
        assert!(told.contains(&line), "{line} is not in {told}");
    }
    let of_schedule = format!("cron: '* * * * *'\nworkflow:\n  {}", text.replace('\n', "\n  "));
    fs::write(&file, of_schedule.trim_end()).unwrap();
    let told = dev.call(&["schedule", "create", "-f", path]).expect_code(1).stderr;
    assert!(told.contains(&format!("{path}:5:13: workflow.nodes[0].when: any_failed")), "{told}");
}

#[test]
fn the_last_one_and_a_prefix_stand_for_an_id() {
    let dev = Dev::start();
    dev.call(&["workflow", "show", "last"]).expect_code(3);
    let file = dev.dir().join("flow.yaml");
    fs::write(&file, FILE).unwrap();
    let create = ["workflow", "create", "-f", file.to_str().unwrap(), "-o", "id"];
    let [first, second] = [(); 2].map(|()| dev.call(&create).expect_code(0).stdout);
    let shown = |typed: &str| dev.call(&["workflow", "show", typed, "-o", "id"]);
    assert_eq!(shown("last").expect_code(0).stdout, second);
    let (id, key) = (first.trim(), first.trim().trim_start_matches("wf-"));
    assert_eq!(shown(key).expect_code(0).stdout, format!("{id}\n"));
    assert!(shown("wf-").expect_code(2).stderr.contains("may be one of 2 workflows"));

    let list = |state: &str| {
        dev.call(&["workflow", "list", "--state", state, "-o", "id"]).expect_code(0).stdout
    };
    assert_eq!((list("running"), list("failed")), (format!("{second}{first}"), String::new()));
    let unknown = dev.call(&["workflow", "list", "--state", "ended"]).expect_code(2).stderr;
    assert!(unknown.contains("running, failing, cancelling"), "{unknown}");
}

#[test]
fn a_workflow_within_is_listed_with_its_state() {
    let dev = Dev::start();
    let file = dev.dir().join("nested.yaml");
    let text = "nodes: [{name: all, group: {members: [{chain: [{task: {type: idle}}]}]}}]";
    fs::write(&file, text).unwrap();
    let create = ["workflow", "create", "-f", file.to_str().unwrap(), "-o", "id"];
    let id = dev.call(&create).expect_code(0).stdout;
    let items = ["workflow", "items", id.trim(), "-o", "json"];
    let listed = || dev.call(&items).expect_code(0).json();
    let within = (0..1_000).map(|_| listed()[0].clone()).find(|item| item.is_object()).unwrap();
    assert!(within["workflow_id"].as_str().unwrap().starts_with("wf-"), "{within}");
    assert_eq!(within["state"], "RUNNING");
}

/// More than are put under each other at a time, and wider ones behind them.
#[test]
fn a_long_list_is_one_table_and_one_value() {
    let dev = Dev::start();
    let file = dev.dir().join("long.yaml");
    let list = (0..1_100).map(|number| number.to_string()).collect::<Vec<_>>().join(", ");
    let text = format!(
        "input: [{list}]
nodes:
  - {{name: m, map: {{over: input, each: {{task: {{type: idle}}}}}}}}
  - {{name: a-name-that-is-longer, task: {{type: idle, payload: 'x'}}}}
"
    );
    fs::write(&file, text).unwrap();
    let create = ["workflow", "create", "-f", file.to_str().unwrap(), "-o", "id"];
    let id = dev.call(&create).expect_code(0).stdout;
    let listed = |format| {
        let items = ["workflow", "items", id.trim(), "--limit", "0", "-o", format];
        dev.call(&items).expect_code(0)
    };
    let all = (0..1_000).map(|_| listed("id").lines().len()).find(|count| *count == 1_101);
    assert_eq!(all, Some(1_101), "they are made while we look");
    assert_eq!(listed("json").json().as_array().unwrap().len(), 1_101);
    let table = listed("table");
    let lines = table.lines();
    assert_eq!(lines.len(), 1_102);
    let start = |line: &str| line.find("idle-1-").unwrap();
    let (before, behind) = lines[1..].split_at(1_000);
    assert!(before.iter().all(|line| start(line) == start(before[0])));
    assert!(behind.iter().all(|line| start(line) == start(behind[0])));
    assert!(lines.last().unwrap().starts_with("a-name-that-is-longer  "), "{:?}", lines.last());
    assert!(start(behind[0]) > start(before[0]));
}
