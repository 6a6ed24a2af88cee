//! The template of a shard's tables: tasks, ended attempts, labels.
//!
//! The names of the tables come from the caller, which has checked them; the columns follow the
//! domain's `Task`, `TaskBody` and `Attempt` one to one. Times are Unix milliseconds.

use crate::ddl::{
    Backend, Column, EVERYWHERE, Index,
    Kind::{Big, Blob, Chars, Int, Room, Small, Text},
    Table, not_null, null, with_default,
};
use crate::{
    m0004_workflows::SHARD_COLUMNS, m0008_resources::COLUMN as RESOURCES,
    m0009_hosts::ATTEMPT_COLUMN,
};

/// The stored number of PENDING, which the partial indexes name.
pub const PENDING: i16 = 9;

/// A task is updated five times and more in its life. With room on its page, reports and saved
/// contexts leave the indexes alone, and what is written into the log shrinks by a fifth; a vacuum
/// at a twentieth of dead rows instead of a fifth keeps a table of millions small. Measured in
/// `docs/adr/0007-postgres-storage.md`.
const POSTGRES_STORAGE: &str = "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05";

/// The names of a shard's three tables.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    pub tasks: &'a str,
    pub attempts: &'a str,
    pub labels: &'a str,
}

/// The statements that make a shard's tables; each can be repeated.
pub fn statements(names: Names<'_>, backend: Backend) -> Vec<String> {
    [tasks(names.tasks), attempts(names.attempts), labels(names.labels)]
        .iter()
        .flat_map(|table| table.statements(backend))
        .collect()
}

/// The table of tasks, and the one index that serves claim, promotion, reaping and retention.
///
/// PostgreSQL gets it in two parts: the small one of PENDING rows stays hot and grows little, and a
/// completion, which leaves RUNNING, does not touch it.
fn tasks(name: &str) -> Table {
    const PARTS: &[Backend] = &[Backend::Postgres];
    const WHOLE: &[Backend] = &[Backend::Sqlite, Backend::Mysql];
    let index = |suffix: &str, columns, condition: Option<String>, backends| Index {
        name: format!("{name}_{suffix}"),
        columns,
        unique: false,
        condition,
        backends,
    };
    Table {
        name: name.to_owned(),
        columns: TASK_COLUMNS.to_vec(),
        primary_key: "id",
        indexes: vec![
            index("state", "state, order_time, id", None, WHOLE),
            index("ready", "order_time, id", Some(format!(" WHERE state = {PENDING}")), PARTS),
            index(
                "state",
                "state, order_time, id",
                Some(format!(" WHERE state <> {PENDING}")),
                PARTS,
            ),
            // Without the state, which changes with every step of a task's life and took a sixth of
            // the time of a drain (`docs/adr/0017-user-index.md`).
            index("owner", "user_name, id", None, EVERYWHERE),
        ],
        postgres_storage: POSTGRES_STORAGE,
    }
}

/// What a claim and an end set has its room in the row from the start, times as 0 and the worker as
/// blanks: on MySQL a row that grows makes its page be written anew, which took most of the time of
/// a claim (`docs/adr/0014-rows-that-do-not-grow.md`).
const TASK_COLUMNS: [Column; 46] = [
    not_null("id", Big),
    not_null("user_name", Chars(64)),
    not_null("name", Chars(128)),
    not_null("trace_id", Chars(32)),
    not_null("state", Small),
    not_null("order_time", Big),
    not_null("priority", Int),
    not_null("revision", Big),
    not_null("run", Int),
    not_null("attempt", Int),
    not_null("failures", Int),
    not_null("crashes", Int),
    not_null("max_crashes", Int),
    not_null("max_retries", Int),
    not_null("retry_interval_ms", Big),
    not_null("retry_max_interval_ms", Big),
    not_null("max_running_ms", Big),
    null("not_before_ms", Big),
    null("paused_from_state", Small),
    null("paused_order_ms", Big),
    not_null("stage", Chars(64)),
    not_null("context_version", Big),
    null("progress", Text),
    null("failure_reason", Small),
    null("failure_message", Text),
    not_null("worker_id", Room(64)),
    not_null("session_id", Big),
    not_null("beats", Big),
    not_null("settle_digest", Big),
    not_null("create_time_ms", Big),
    not_null("update_time_ms", Big),
    with_default("claim_time_ms", Big),
    with_default("start_time_ms", Big),
    with_default("finish_time_ms", Big),
    SHARD_COLUMNS[0],
    SHARD_COLUMNS[1],
    SHARD_COLUMNS[2],
    SHARD_COLUMNS[3],
    RESOURCES,
    not_null("payload", Blob),
    not_null("payload_type", Chars(128)),
    not_null("context", Blob),
    not_null("context_type", Chars(128)),
    null("result", Blob),
    null("result_type", Chars(128)),
    not_null("labels", Text),
];

/// One row per ended attempt.
fn attempts(name: &str) -> Table {
    Table {
        name: name.to_owned(),
        columns: vec![
            not_null("task_key", Big),
            not_null("attempt", Int),
            not_null("run", Int),
            not_null("worker_id", Chars(64)),
            not_null("session_id", Big),
            not_null("stage", Chars(64)),
            not_null("claim_time_ms", Big),
            null("start_time_ms", Big),
            not_null("end_time_ms", Big),
            not_null("outcome", Small),
            null("failure_reason", Small),
            null("failure_message", Text),
            null("exit_code", Int),
            ATTEMPT_COLUMN,
        ],
        primary_key: "task_key, attempt",
        indexes: vec![],
        postgres_storage: "",
    }
}

/// One row per label: the index of a list by label, in the order in which lists page.
fn labels(name: &str) -> Table {
    Table {
        name: name.to_owned(),
        columns: vec![
            not_null("name", Chars(63)),
            not_null("value", Chars(255)),
            not_null("task_key", Big),
        ],
        primary_key: "name, value, task_key",
        indexes: vec![Index {
            name: format!("{name}_task"),
            columns: "task_key",
            unique: false,
            condition: None,
            backends: EVERYWHERE,
        }],
        postgres_storage: "",
    }
}
