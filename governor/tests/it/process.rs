//! The program itself: wrong settings, and the end by SIGTERM.

use crate::harness::store;
use asyncflow_store::testing::SqliteFile;
use std::{
    process::{Command, Stdio},
    time::Duration,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_asyncflow-governor");

#[test]
fn wrong_settings_end_it_with_2_and_all_errors() {
    let output = Command::new(PROGRAM)
        .args(["--set", "leader.ttl_ms=soon", "--set", "nonsense=1"])
        .args(["--set", "listen.address=0.0.0.0:7080"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    for key in ["leader.ttl_ms", "nonsense", "listen.address"] {
        assert!(text.contains(key), "{key} is missing in {text}");
    }
}

#[tokio::test]
async fn sigterm_gives_the_lead_back_and_ends_well() {
    let file = SqliteFile::new();
    let mut child = Command::new(PROGRAM)
        .args(["--set", &format!("database.url={}", file.url())])
        .args(["--set", "listen.address=127.0.0.1:0", "--set", "metrics.address="])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let store = store(&file.url()).await;
    let leads = async {
        while store.get_leader().await.unwrap().is_none_or(|leader| leader.expire_time_ms == 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), leads).await.expect("it leads in time");
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let leader = store.get_leader().await.unwrap().unwrap();
    assert_eq!((leader.epoch, leader.expire_time_ms), (1, 0));
}
