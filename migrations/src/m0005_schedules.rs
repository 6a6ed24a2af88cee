//! Schedules: what they are, where they stand, and what became of their fire times.

use sea_orm_migration::{prelude::*, sea_orm::ConnectionTrait};

use crate::ddl::{
    Backend, EVERYWHERE, Index,
    Kind::{Big, Blob, Chars, Int, Small, Text},
    Table, not_null, null,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0005_schedules"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// Each statement can be repeated, so a step that was cut off begins anew.
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        for statement in statements(backend.into()) {
            manager.get_connection().execute_unprepared(&statement).await?;
        }
        Ok(())
    }
}

/// The statements of this step.
pub(crate) fn statements(backend: Backend) -> Vec<String> {
    [schedules(), standings(), fires()].iter().flat_map(|table| table.statements(backend)).collect()
}

fn index(name: &str, columns: &'static str, unique: bool) -> Index {
    Index { name: name.to_owned(), columns, unique, condition: None, backends: EVERYWHERE }
}

/// What they are: written by people, read when they fire.
fn schedules() -> Table {
    Table {
        name: "schedules".to_owned(),
        columns: vec![
            not_null("id", Big),
            not_null("user_name", Chars(64)),
            not_null("name", Chars(128)),
            not_null("revision", Big),
            null("request_id", Chars(128)),
            not_null("digest", Big),
            not_null("create_time_ms", Big),
            not_null("update_time_ms", Big),
            not_null("spec", Blob),
            not_null("action", Blob),
            // As the client wrote it, to be shown again.
            not_null("source", Blob),
        ],
        primary_key: "id",
        indexes: vec![
            index("schedules_request", "user_name, request_id", true),
            index("schedules_owner", "user_name, id", false),
        ],
        postgres_storage: "",
    }
}

/// Where they stand: narrow rows, because each firing rewrites one.
fn standings() -> Table {
    Table {
        name: "schedule_standings".to_owned(),
        columns: vec![
            not_null("schedule_id", Big),
            // +1 at every write: the compare of the compare-and-swap.
            not_null("version", Big),
            not_null("state", Small),
            // 0 = none, for this and the times that follow.
            not_null("next_ms", Big),
            // When it is to be looked at; the largest number = never.
            not_null("due_ms", Big),
            not_null("queued_ms", Big),
            not_null("last_fire_ms", Big),
            // The id of the task or workflow that was fired last; empty = none.
            not_null("last_run", Chars(80)),
            not_null("last_error", Text),
            not_null("fired", Big),
            not_null("skipped", Big),
            not_null("missed", Big),
            not_null("failed", Big),
            // What firing it costs: bytes that are read, and work in tasks.
            not_null("bytes", Big),
            not_null("cost", Int),
        ],
        primary_key: "schedule_id",
        indexes: vec![
            index("schedule_standings_due", "due_ms, schedule_id", false),
            index("schedule_standings_queued", "queued_ms, schedule_id", false),
        ],
        postgres_storage: "fillfactor = 70",
    }
}

/// What became of fire times. The key lets each fire once.
fn fires() -> Table {
    Table {
        name: "schedule_fires".to_owned(),
        columns: vec![
            not_null("schedule_id", Big),
            not_null("fire_ms", Big),
            not_null("cause", Small),
            not_null("outcome", Small),
            not_null("time_ms", Big),
            not_null("run", Chars(80)),
            null("request_id", Chars(128)),
            null("message", Text),
        ],
        primary_key: "schedule_id, fire_ms",
        indexes: vec![
            index("schedule_fires_request", "schedule_id, request_id", true),
            index("schedule_fires_time", "time_ms", false),
        ],
        postgres_storage: "",
    }
}
