//! `asyncflow archive …`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::program::call;
use asyncflow_archive::{Archive, Bounds, Content, Line, Options, ShardName, Source};

const MADE_MS: i64 = 1_700_000_000_000;

fn line(number: i32, at: usize) -> Line {
    Line {
        id: format!("train-{number}-{at:013}"),
        state: "SUCCEEDED".to_owned(),
        finish_time_ms: Some(MADE_MS),
        payload: Content { data: vec![0xff, 0x00].into(), ..Content::default() },
        ..Line::default()
    }
}

/// The shards train-1 and train-2 with three tasks each.
fn write(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let archive = Archive::create(&Options { url: url.to_owned(), ..Options::default() }).unwrap();
    for number in [1, 2] {
        let shard = ShardName::new("train", number).unwrap();
        let source = Source { shard, version: 4, create_time_ms: MADE_MS };
        runtime.block_on(async {
            let mut writer = archive.begin(source, Bounds::default(), MADE_MS).await.unwrap();
            writer.push((0..3).map(|at| line(number, at)).collect()).await.unwrap();
            writer.finish().await.unwrap();
        });
    }
}

#[test]
fn archives_are_listed_and_their_tasks_printed() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    write(&url);
    let archive = |args: &[&str]| call(&[&["archive", "--url", &url], args].concat());

    let listed = archive(&["ls", "-o", "json"]).expect_code(0).json();
    assert_eq!((&listed[1]["shard"], &listed[1]["rows"]), (&2.into(), &3.into()));
    assert_eq!(listed[0]["last_finish_time"], "2023-11-14T22:13:20Z");
    assert_eq!(archive(&["ls", "-o", "id"]).expect_code(0).lines(), ["train-1", "train-2"]);
    assert_eq!(archive(&["ls", "--type", "other", "-o", "id"]).expect_code(0).stdout, "");
    assert!(archive(&["ls"]).expect_code(0).stdout.contains("train-2"));

    let id = "train-2-0000000000001";
    let task = archive(&["cat", id]).expect_code(0).json();
    assert_eq!((&task["id"], &task["payload"]["data"]), (&id.into(), &"/wA=".into()));
    assert!(archive(&["cat", id, "-o", "json"]).expect_code(0).lines().len() > 30);
    let shard = archive(&["cat", "train-1"]).expect_code(0);
    let ids: Vec<serde_json::Value> =
        shard.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(ids[2]["id"], "train-1-0000000000002");
}

#[test]
fn what_is_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    write(&url);
    let archive = |args: &[&str]| call(&[&["archive", "--url", &url], args].concat());
    let missing = archive(&["cat", "train-9"]).expect_code(3).stderr;
    assert!(missing.contains("/train/train-9/manifest.json"), "{missing}");
    let missing = archive(&["cat", "train-1-0000000000009"]).expect_code(3).stderr;
    assert!(missing.contains("does not hold the task"), "{missing}");
    let wrong = archive(&["cat", "../../etc"]).expect_code(2).stderr;
    assert!(wrong.contains("train-1"), "{wrong}");
    let nowhere = call(&["archive", "ls"]).expect_code(2).stderr;
    assert!(nowhere.contains("ASYNCFLOW_ARCHIVE_URL"), "{nowhere}");
    let wrong = call(&["archive", "ls", "--url", "/var/lib"]).expect_code(2).stderr;
    assert!(wrong.contains("file:///directory"), "{wrong}");

    let folder = dir.path().join("train/train-1");
    let part = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let part = part.into_iter().find(|path| path.extension().unwrap() == "zst").unwrap();
    std::fs::write(&part, "x").unwrap();
    let damaged = archive(&["cat", "train-1"]).expect_code(1).stderr;
    assert!(damaged.contains("damaged"), "{damaged}");
}
