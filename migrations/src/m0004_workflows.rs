//! Workflows: their tables, and the columns by which a task knows that it is a part of one, also in
//! the shards that are there.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, Statement},
};

use crate::ddl::{
    Backend, Column, EVERYWHERE, Index,
    Kind::{Big, Blob, Chars, Int, Small, Text},
    Table, add_column, not_null, null, with_default,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0004_workflows"
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
        let backend = manager.get_database_backend();
        for statement in statements(backend.into()) {
            db.execute_unprepared(&statement).await?;
        }
        let shards = Statement::from_string(backend, "SELECT task_type, number FROM shards");
        for shard in db.query_all_raw(shards).await? {
            let (task_type, number): (String, i32) =
                (shard.try_get_by_index(0)?, shard.try_get_by_index(1)?);
            let name = format!("t_{task_type}_{number}");
            // A drop that is under way, and may be taken back, has renamed the table.
            for table in [name.clone(), format!("drop_{name}")] {
                // A shard that was dropped keeps its row.
                if manager.has_table(&table).await? {
                    extend(manager, &table).await?;
                }
            }
        }
        Ok(())
    }
}

/// A table that was made meanwhile by the template of this version has the columns already.
async fn extend(manager: &SchemaManager<'_>, table: &str) -> Result<(), DbErr> {
    for column in SHARD_COLUMNS {
        if !manager.has_column(table, column.0).await? {
            let statement = add_column(table, &column, manager.get_database_backend().into());
            manager.get_connection().execute_unprepared(&statement).await?;
        }
    }
    Ok(())
}

/// The workflow that a task is a part of, 0 for none, and its node and item in one number; what
/// others have to do with it, a bit for each; what must hold for its result.
pub(crate) const SHARD_COLUMNS: [Column; 4] = [
    with_default("workflow_key", Big),
    with_default("workflow_place", Big),
    with_default("ties", Small),
    null("success_if", Text),
];

/// The statements of this step but for those on shards.
pub(crate) fn statements(backend: Backend) -> Vec<String> {
    tables().iter().flat_map(|table| table.statements(backend)).collect()
}

fn tables() -> Vec<Table> {
    vec![workflows(), nodes(), items(), lists(), waits(), signals()]
}

fn table(
    name: &str,
    primary_key: &'static str,
    columns: Vec<Column>,
    indexes: Vec<Index>,
) -> Table {
    Table { name: name.to_owned(), columns, primary_key, indexes, postgres_storage: "" }
}

fn index(name: &str, columns: &'static str, unique: bool) -> Index {
    Index { name: name.to_owned(), columns, unique, condition: None, backends: EVERYWHERE }
}

fn tally(names: [&'static str; 4]) -> [Column; 4] {
    names.map(|name| not_null(name, Int))
}

fn workflows() -> Table {
    let mut columns = vec![
        not_null("id", Big),
        not_null("user_name", Chars(64)),
        not_null("name", Chars(128)),
        not_null("trace_id", Chars(32)),
        not_null("state", Small),
        not_null("revision", Big),
        not_null("nodes", Int),
    ];
    columns.extend(tally(["succeeded", "failed", "cancelled", "skipped"]));
    columns.extend([
        // Of the workflow whose item it is; 0 for none.
        not_null("parent_key", Big),
        not_null("parent_place", Big),
        // Of the task that has made it; empty for none.
        not_null("parent_task", Chars(80)),
        null("request_id", Chars(128)),
        not_null("digest", Big),
        not_null("create_time_ms", Big),
        not_null("update_time_ms", Big),
        not_null("finish_time_ms", Big),
        null("message", Text),
        not_null("definition", Blob),
        not_null("input", Blob),
        not_null("input_type", Chars(128)),
        not_null("labels", Text),
    ]);
    let indexes = vec![
        index("workflows_request", "user_name, request_id", true),
        index("workflows_owner", "user_name, parent_key, id", false),
        index("workflows_top", "parent_key, id", false),
        index("workflows_parent_task", "parent_task, id", false),
        index("workflows_finish", "finish_time_ms", false),
    ];
    table("workflows", "id", columns, indexes)
}

fn nodes() -> Table {
    let mut columns = vec![
        not_null("workflow_key", Big),
        not_null("node", Int),
        not_null("state", Small),
        not_null("items", Int),
        not_null("started", Int),
    ];
    columns.extend(tally(["need_succeeded", "need_failed", "need_cancelled", "need_skipped"]));
    columns.extend(tally(["succeeded", "failed", "cancelled", "skipped"]));
    // Items that run again after a retry.
    columns.push(null("again", Blob));
    columns.push(null("message", Text));
    let indexes = vec![index("workflow_nodes_state", "state, workflow_key, node", false)];
    table("workflow_nodes", "workflow_key, node", columns, indexes)
}

fn items() -> Table {
    let columns = vec![
        not_null("workflow_key", Big),
        not_null("place", Big),
        // Of the task, or of the workflow, that the item is.
        not_null("task_id", Chars(80)),
        not_null("child_key", Big),
    ];
    table("workflow_items", "workflow_key, place", columns, vec![])
}

/// The lists of maps, in parts.
fn lists() -> Table {
    let columns = vec![
        not_null("workflow_key", Big),
        not_null("node", Int),
        not_null("chunk", Int),
        not_null("items", Blob),
    ];
    table("workflow_lists", "workflow_key, node, chunk", columns, vec![])
}

/// What BLOCKED tasks wait for: a row for each thing. Whatever is not waited for any more has no
/// row.
fn waits() -> Table {
    let columns = vec![
        // The task whose end is waited for, or the one or the workflow that a signal is sent to.
        not_null("awaited", Chars(80)),
        // Of the signal, or empty.
        not_null("name", Chars(64)),
        not_null("waiter", Chars(80)),
        // Whether any end will do.
        not_null("any_end", Small),
        // How what is waited for has ended; 0 = not yet.
        not_null("outcome", Small),
    ];
    let indexes = vec![
        index("task_waits_waiter", "waiter", false),
        index("task_waits_outcome", "outcome, awaited", false),
    ];
    table("task_waits", "awaited, name, waiter", columns, indexes)
}

/// Signals that have come, for tasks and for workflows.
fn signals() -> Table {
    let columns = vec![
        not_null("target", Chars(80)),
        not_null("name", Chars(64)),
        not_null("user_name", Chars(64)),
        not_null("create_time_ms", Big),
        not_null("content", Blob),
        not_null("content_type", Chars(128)),
    ];
    table("signals", "target, name", columns, vec![])
}
