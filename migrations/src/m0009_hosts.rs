//! Hosts: what workers tell of theirs, what is wanted of them, and what attempts and users have
//! used; also in the shards that are there.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, Statement},
};

use crate::ddl::{
    Backend, Column,
    Kind::{Big, Blob, Chars, Int, Small, Text},
    Table, add_column, not_null, null, with_default,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0009_hosts"
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
        extend(manager, WORKERS, &WORKER_COLUMNS).await?;
        for statement in tables().iter().flat_map(|table| table.statements(backend.into())) {
            db.execute_unprepared(&statement).await?;
        }
        let shards = Statement::from_string(backend, "SELECT task_type, number FROM shards");
        for shard in db.query_all_raw(shards).await? {
            let (task_type, number): (String, i32) =
                (shard.try_get_by_index(0)?, shard.try_get_by_index(1)?);
            let name = format!("a_{task_type}_{number}");
            // A drop that is under way, and may be taken back, has renamed the table.
            for table in [name.clone(), format!("drop_{name}")] {
                // A shard that was dropped keeps its row.
                if manager.has_table(&table).await? {
                    extend(manager, &table, &[ATTEMPT_COLUMN]).await?;
                }
            }
        }
        Ok(())
    }
}

/// MySQL and SQLite have no ADD COLUMN IF NOT EXISTS.
async fn extend(manager: &SchemaManager<'_>, table: &str, columns: &[Column]) -> Result<(), DbErr> {
    for column in columns {
        if !manager.has_column(table, column.0).await? {
            let statement = add_column(table, column, manager.get_database_backend().into());
            manager.get_connection().execute_unprepared(&statement).await?;
        }
    }
    Ok(())
}

const WORKERS: &str = "workers";

/// What the worker told last, and when; 0 = not yet.
const WORKER_COLUMNS: [Column; 2] = [null("report", Blob), with_default("report_time_ms", Big)];

/// What an attempt has used, as JSON.
pub(crate) const ATTEMPT_COLUMN: Column = null("usage_info", Text);

/// The statements of this step but for those on shards.
pub(crate) fn statements(backend: Backend) -> Vec<String> {
    let columns = WORKER_COLUMNS.iter().map(|column| add_column(WORKERS, column, backend));
    columns.chain(tables().iter().flat_map(|table| table.statements(backend))).collect()
}

fn tables() -> Vec<Table> {
    vec![orders(), usage()]
}

/// What is wanted of a host: a row for each thing, gone when it is done.
fn orders() -> Table {
    let columns = vec![
        not_null("worker_id", Chars(64)),
        // What it is about, e.g. `cordon`, `gpu/<uuid>`, `task/<id>.<attempt>`.
        not_null("name", Chars(160)),
        not_null("body", Blob),
        not_null("create_time_ms", Big),
    ];
    let name = "host_orders".to_owned();
    let primary_key = "worker_id, name";
    Table { name, columns, primary_key, indexes: vec![], postgres_storage: "" }
}

/// What the attempts of a user that ended on a day have used. A few rows a day, so that many who
/// end attempts of one user seldom want the same one.
fn usage() -> Table {
    let columns = vec![
        // Days since 1970, UTC.
        not_null("day_number", Int),
        not_null("user_name", Chars(64)),
        not_null("slot", Small),
        not_null("gpu_ms", Big),
        not_null("cpu_ms", Big),
        not_null("attempts", Big),
    ];
    let name = "user_usage".to_owned();
    let primary_key = "day_number, user_name, slot";
    Table { name, columns, primary_key, indexes: vec![], postgres_storage: "" }
}
