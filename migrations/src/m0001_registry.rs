//! The tables that every task type shares.

use sea_orm_migration::prelude::*;

use crate::ddl::{
    EVERYWHERE, Index,
    Kind::{Big, Blob, Chars, Int, Serial, Small, Text},
    Table, not_null, null,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0001_registry"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for statement in tables()
            .iter()
            .flat_map(|table| table.statements(manager.get_database_backend().into()))
        {
            sea_orm_migration::sea_orm::ConnectionTrait::execute_unprepared(db, &statement).await?;
        }
        Ok(())
    }
}

/// The tables of this step.
pub(crate) fn tables() -> Vec<Table> {
    let mut tables = registry();
    tables.extend(workers());
    tables.extend(change_log());
    tables.extend(coordination());
    tables
}

fn table(
    name: &str,
    primary_key: &'static str,
    columns: Vec<crate::ddl::Column>,
    indexes: Vec<Index>,
) -> Table {
    Table { name: name.to_owned(), columns, primary_key, indexes, postgres_storage: "" }
}

fn index(name: &str, columns: &'static str) -> Index {
    Index { name: name.to_owned(), columns, unique: false, condition: None, backends: EVERYWHERE }
}

fn registry() -> Vec<Table> {
    let types = vec![
        not_null("name", Chars(40)),
        not_null("description", Text),
        not_null("schedule_limit", Int),
        not_null("priority", Int),
        not_null("max_retries", Int),
        not_null("retry_interval_ms", Big),
        not_null("retry_max_interval_ms", Big),
        not_null("max_running_ms", Big),
        not_null("max_crashes", Int),
        not_null("max_context_bytes", Int),
        not_null("shard_max_rows", Big),
        not_null("retention_ms", Big),
        not_null("paused", Small),
        not_null("revision", Big),
        not_null("create_time_ms", Big),
        not_null("update_time_ms", Big),
    ];
    let shards = vec![
        not_null("task_type", Chars(40)),
        not_null("number", Int),
        not_null("state", Small),
        not_null("version", Big),
        not_null("create_time_ms", Big),
        not_null("update_time_ms", Big),
    ];
    // Counted in slots, so that two transactions seldom want the same row.
    let counts = vec![
        not_null("task_type", Chars(40)),
        not_null("shard", Int),
        not_null("user_name", Chars(64)),
        not_null("state", Small),
        not_null("slot", Small),
        not_null("n", Big),
    ];
    let dedup = vec![
        not_null("user_name", Chars(64)),
        not_null("request_id", Chars(128)),
        not_null("digest", Big),
        not_null("task_id", Chars(80)),
        not_null("create_time_ms", Big),
    ];
    vec![
        table("task_types", "name", types, vec![]),
        table("shards", "task_type, number", shards, vec![]),
        table("task_counts", "task_type, shard, user_name, state, slot", counts, vec![]),
        table(
            "request_dedup",
            "user_name, request_id",
            dedup,
            vec![index("request_dedup_time", "create_time_ms")],
        ),
    ]
}

fn workers() -> Vec<Table> {
    let workers = vec![
        not_null("worker_id", Chars(64)),
        not_null("session_id", Big),
        not_null("incarnation", Chars(128)),
        not_null("info", Blob),
        not_null("register_time_ms", Big),
        not_null("seen_time_ms", Big),
        not_null("draining", Small),
        not_null("running", Int),
    ];
    let acquires = vec![
        not_null("session_id", Big),
        not_null("acquire_id", Chars(128)),
        not_null("tasks", Blob),
        not_null("create_time_ms", Big),
    ];
    vec![
        table(
            "workers",
            "worker_id",
            workers,
            vec![
                Index { unique: true, ..index("workers_session", "session_id") },
                index("workers_seen", "seen_time_ms"),
            ],
        ),
        table(
            "acquires",
            "session_id, acquire_id",
            acquires,
            vec![index("acquires_time", "create_time_ms")],
        ),
    ]
}

fn change_log() -> Vec<Table> {
    let changes =
        vec![not_null("seq", Serial), not_null("time_ms", Big), not_null("changes", Blob)];
    let chunks = vec![
        not_null("task_id", Chars(80)),
        not_null("attempt", Int),
        not_null("byte_offset", Big),
        not_null("stream", Small),
        not_null("time_ms", Big),
        not_null("bytes", Blob),
    ];
    vec![
        table("change_log", "", changes, vec![index("change_log_time", "time_ms")]),
        table(
            "task_log_chunks",
            "task_id, attempt, byte_offset",
            chunks,
            vec![index("task_log_chunks_time", "time_ms")],
        ),
    ]
}

fn coordination() -> Vec<Table> {
    let leader = vec![
        not_null("name", Chars(40)),
        not_null("holder", Chars(128)),
        not_null("epoch", Big),
        not_null("expire_time_ms", Big),
    ];
    let locks = vec![
        not_null("name", Chars(128)),
        not_null("token", Chars(64)),
        not_null("expire_time_ms", Big),
    ];
    let duties = vec![
        not_null("name", Chars(64)),
        not_null("runs", Big),
        not_null("failures", Big),
        not_null("done", Big),
        null("last_start_ms", Big),
        null("last_end_ms", Big),
        null("last_error", Text),
    ];
    vec![
        table("leader", "name", leader, vec![]),
        table("locks", "name", locks, vec![]),
        table("duties", "name", duties, vec![]),
    ]
}
