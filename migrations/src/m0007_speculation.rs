//! Speculation: when tasks of a type get twins, and which task is whose.

use sea_orm_migration::{prelude::*, sea_orm::ConnectionTrait};

use crate::ddl::{
    Backend, Column, EVERYWHERE, Index,
    Kind::{Big, Chars, Int, Small},
    Table, add_column, not_null, with_default,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0007_speculation"
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
        let backend = manager.get_database_backend().into();
        for column in TYPE_COLUMNS {
            // MySQL and SQLite have no ADD COLUMN IF NOT EXISTS.
            if !manager.has_column(TYPES, column.0).await? {
                db.execute_unprepared(&add_column(TYPES, &column, backend)).await?;
            }
        }
        for statement in twins().statements(backend) {
            db.execute_unprepared(&statement).await?;
        }
        Ok(())
    }
}

const TYPES: &str = "task_types";

/// A factor of 0 thousandths: no twins.
const TYPE_COLUMNS: [Column; 4] = [
    with_default("speculation_permille", Int),
    with_default("speculation_min_sample", Int),
    with_default("speculation_max_percent", Int),
    with_default("speculation_min_running_ms", Big),
];

/// The statements of this step.
pub(crate) fn statements(backend: Backend) -> Vec<String> {
    let columns = TYPE_COLUMNS.iter().map(|column| add_column(TYPES, column, backend));
    columns.chain(twins().statements(backend)).collect()
}

fn index(name: &str, columns: &'static str, unique: bool) -> Index {
    Index { name: name.to_owned(), columns, unique, condition: None, backends: EVERYWHERE }
}

/// At most one twin for each run of a task.
fn twins() -> Table {
    let columns = vec![
        not_null("original", Chars(80)),
        not_null("run", Int),
        not_null("twin", Chars(80)),
        // Where the original ran, and the twin is not to run.
        not_null("host", Chars(255)),
        // How the twin has ended; 0 = not yet.
        not_null("outcome", Small),
        not_null("create_time_ms", Big),
    ];
    let indexes = vec![
        index("twins_twin", "twin", true),
        index("twins_outcome", "outcome, original, run", false),
    ];
    let name = "twins".to_owned();
    Table { name, columns, primary_key: "original, run", indexes, postgres_storage: "" }
}
