//! Processes and transactions that are left, processes that panic, and that tell a secret.

use asyncflow_tests::checker::{Call, Log, Process, Told};

use crate::sample::{SECRET, caught, create};

#[test]
fn a_process_that_is_left_is_seen() {
    caught(&["I18"], "its process 4711 is left", |history| {
        let task = history.rows[0].id.clone();
        history.left_over.push(Process { pid: 4711, task });
    });
}

#[test]
fn a_transaction_that_is_left_is_seen() {
    caught(&["I18"], "left open: session 7 is idle", |history| {
        history.open_transactions.push("session 7 is idle".to_owned());
    });
}

#[test]
fn a_call_that_fails_inside_is_seen() {
    caught(&["I19"], "got Internal: no such column", |history| {
        let message = "no such column".to_owned();
        let told = Told::Refused { code: tonic::Code::Internal, message };
        history.calls.push(Call { told, ..create("r-inside", "") });
    });
}

#[test]
fn a_panic_is_seen() {
    caught(&["I19"], "broker-0 (line 2 of its log): thread 'main' panicked at", |history| {
        let text = "ready\nthread 'main' panicked at src/a.rs:1\n".to_owned();
        history.logs.push(Log { process: "broker-0".to_owned(), text });
    });
}

#[test]
fn a_secret_in_a_log_is_seen() {
    caught(&["I19"], "worker-0 (line 1 of its log) tells a secret", |history| {
        let text = format!("environment: KEY={SECRET}\n");
        history.logs.push(Log { process: "worker-0".to_owned(), text });
    });
}
