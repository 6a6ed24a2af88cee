//! The program itself: what it refuses to run on.

use asyncflow_store::testing::{fresh_database, mariadb};
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_asyncflow-broker");
const GAP: &str = "innodb_flush_log_at_trx_commit is 2";

fn on_a_forgetful_server(url: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["--set", &format!("database.url={url}"), "--set", "metrics.address="]);
    command.args(["--set", "listen.address=127.0.0.1:0"]).stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn a_server_that_may_lose_tasks_is_named_and_refused_where_that_is_wanted() {
    let url = fresh_database(mariadb()).await;
    let strict = ["--set", "database.strict_durability=true"];
    let output = on_a_forgetful_server(&url).args(strict).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(GAP) && text.contains("strict_durability"), "{text}");

    let mut child = on_a_forgetful_server(&url).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    // It goes on after the warning: its next line, if any, is no error.
    let named = log.lines().map(Result::unwrap).find(|line| line.contains(GAP));
    assert!(named.is_some_and(|line| line.contains("WARN")));
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    child.wait().unwrap();
}
