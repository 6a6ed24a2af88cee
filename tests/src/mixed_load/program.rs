//! What the tasks of the load execute: some steps, each of them saved, and everything written down.

use std::path::Path;

use crate::sh;
use asyncflow_proto::v1::{OptionalRetryPolicy, TaskSpec};

const STEPS: u64 = 4;
/// Every program has it in its environment.
pub const SECRET: &str = "key-5f1c9a07d2";

/// Goes on from its context. Every line that it writes down is one `write`.
const SCRIPT: &str = r#"
say() { echo "$ASYNCFLOW_TASK_ID $ASYNCFLOW_ATTEMPT $$ $1 $2" >> RECORDS; }
tell() { printf '{"event":"%s","data":"%s"}\n' "$1" "$2" >> "$ASYNCFLOW_EVENTS"; }
mark=; IFS= read -r mark < "$ASYNCFLOW_CONTEXT" || :
mark=${mark#\"}; mark=${mark%\"}; mark=${mark:-0:0}; step=${mark%:*}
say start "$mark"
while [ "$step" -lt STEPS ]; do
    sleep PAUSE
    step=$((step + 1)); mark=$step:$ASYNCFLOW_ATTEMPT
    say save "$mark"
    tell context "$mark"
    [ "$ASYNCFLOW_ATTEMPT" = FAILS ] && exit 1
done
mark=$step:$ASYNCFLOW_ATTEMPT
say end "$mark"
tell result "$mark"
"#;

/// A task of this name, whose programs write to `records`. With `fails` its first attempt does.
pub fn task(name: &str, records: &Path, pause_ms: u64, fails: bool) -> TaskSpec {
    let script = SCRIPT
        .replace("RECORDS", &records.display().to_string())
        .replace("STEPS", &STEPS.to_string())
        .replace("PAUSE", &format!("0.{pause_ms:03}"))
        .replace("FAILS", if fails { "1" } else { "never" });
    let retry = OptionalRetryPolicy {
        max_retries: Some(3),
        interval: Some(asyncflow_proto::time::duration(200)),
        ..OptionalRetryPolicy::default()
    };
    let mut task = TaskSpec { name: name.to_owned(), retry: Some(retry), ..sh(&script) };
    let command = task.command.as_mut().unwrap();
    command.environment.insert("API_KEY".to_owned(), SECRET.to_owned());
    task
}
