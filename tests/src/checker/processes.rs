//! Processes: none is left over or leaves a transaction, none fails inside, and none tells what it
//! must not.

use tonic::Code;

use super::{
    Report,
    history::{History, Told},
};

/// Parts of lines that no log may have.
const PANICS: [&str; 2] = ["panicked at", "thread panicked"];

/// I18: no process of an attempt is there when every task has ended.
pub(super) fn no_process_is_left(history: &History, report: &mut Report) {
    for process in &history.left_over {
        report.add(&process.task, format!("its process {} is left", process.pid));
    }
}

/// I18: no transaction is open when every task has ended.
pub(super) fn no_transaction_is_left(history: &History, report: &mut Report) {
    for transaction in &history.open_transactions {
        report.add("", format!("a transaction is left open: {transaction}"));
    }
}

/// I19: no client is told that something inside has gone wrong.
pub(super) fn no_call_fails_inside(history: &History, report: &mut Report) {
    for (at, call) in history.calls.iter().enumerate() {
        let (Told::Refused { code, message } | Told::Unknown { code, message }) = &call.told else {
            continue;
        };
        if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
            report.add("", format!("call {at} ({:?}) got {code:?}: {message}", call.kind));
        }
    }
}

/// I19: no process has panicked, and no log tells a secret.
pub(super) fn logs_are_clean(history: &History, report: &mut Report) {
    for log in &history.logs {
        for (number, line) in (1..).zip(log.text.lines()) {
            let place = format!("{} (line {number} of its log)", log.process);
            if PANICS.iter().any(|panic| line.contains(panic)) {
                report.add("", format!("{place}: {line}"));
            }
            if history.secrets.iter().any(|secret| line.contains(secret.as_str())) {
                report.add("", format!("{place} tells a secret"));
            }
        }
    }
}
