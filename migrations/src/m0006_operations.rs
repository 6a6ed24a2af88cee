//! Operations: one verb for all tasks that match a filter.

use sea_orm_migration::prelude::*;

use crate::ddl::{
    Backend, EVERYWHERE, Index,
    Kind::{Big, Chars, Small, Text},
    Table, not_null, null,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0006_operations"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// What was done before is left out, so that a step which was cut off goes on where it was.
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for statement in statements(manager.get_database_backend().into()) {
            db.execute_unprepared(&statement).await?;
        }
        Ok(())
    }
}

/// The statements of this step.
pub(crate) fn statements(backend: Backend) -> Vec<String> {
    operations().statements(backend)
}

fn index(name: &str, columns: &'static str, unique: bool) -> Index {
    Index { name: name.to_owned(), columns, unique, condition: None, backends: EVERYWHERE }
}

fn operations() -> Table {
    let columns = vec![
        not_null("id", Big),
        not_null("kind", Small),
        not_null("state", Small),
        not_null("revision", Big),
        not_null("user_name", Chars(64)),
        not_null("filter", Text),
        // The only user whose tasks are changed; NULL for all.
        null("only_user", Chars(64)),
        not_null("changes_max", Big),
        not_null("message", Text),
        not_null("from_start", Small),
        null("request_id", Chars(128)),
        not_null("digest", Big),
        // Where it goes on.
        not_null("cursor_token", Text),
        not_null("matched", Big),
        not_null("changed", Big),
        not_null("skipped", Big),
        not_null("failed", Big),
        not_null("issues", Text),
        null("error", Text),
        // Who carries it out: +1 at every taker.
        not_null("epoch", Big),
        not_null("holder", Chars(128)),
        not_null("lease_until_ms", Big),
        not_null("create_time_ms", Big),
        not_null("update_time_ms", Big),
        not_null("finish_time_ms", Big),
    ];
    let indexes = vec![
        index("operations_request", "user_name, request_id", true),
        index("operations_owner", "user_name, id", false),
        index("operations_state", "state, id", false),
        index("operations_finish", "finish_time_ms", false),
    ];
    let name = "operations".to_owned();
    Table { name, columns, primary_key: "id", indexes, postgres_storage: "" }
}
