//! What tasks need on their hosts: of types, and of tasks, also in the shards that are there.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, Statement},
};

use crate::ddl::{Backend, Column, Kind::Text, add_column, null};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0008_resources"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// What was done before is left out, so that a step which was cut off goes on where it was.
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        extend(manager, TYPES).await?;
        let (db, backend) = (manager.get_connection(), manager.get_database_backend());
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

/// A table that was made meanwhile by the template of this version has the column already.
async fn extend(manager: &SchemaManager<'_>, table: &str) -> Result<(), DbErr> {
    if !manager.has_column(table, COLUMN.0).await? {
        let statement = add_column(table, &COLUMN, manager.get_database_backend().into());
        manager.get_connection().execute_unprepared(&statement).await?;
    }
    Ok(())
}

const TYPES: &str = "task_types";

/// JSON; NULL for a slot alone.
pub(crate) const COLUMN: Column = null("resources", Text);

/// The statements of this step but for those on shards.
pub(crate) fn statements(backend: Backend) -> Vec<String> {
    vec![add_column(TYPES, &COLUMN, backend)]
}
