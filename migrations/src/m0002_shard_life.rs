//! What the life of a shard needs: when it was closed and drained, where its archive is, and the
//! settings of a type that say when.

use sea_orm_migration::{prelude::*, sea_orm::ConnectionTrait};

use crate::ddl::{
    Backend, Column,
    Kind::{Big, Small, Text},
    add_column, null, with_default,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0002_shard_life"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend().into();
        for (table, column) in columns() {
            // MySQL and SQLite have no ADD COLUMN IF NOT EXISTS.
            if !manager.has_column(table, column.0).await? {
                let statement = add_column(table, &column, backend);
                manager.get_connection().execute_unprepared(&statement).await?;
            }
        }
        Ok(())
    }
}

/// The columns of this step, with their tables.
fn columns() -> Vec<(&'static str, Column)> {
    vec![
        ("shards", null("close_time_ms", Big)),
        ("shards", null("drain_time_ms", Big)),
        ("shards", null("archive", Text)),
        ("task_types", with_default("shard_max_age_ms", Big)),
        ("task_types", with_default("result_retention_ms", Big)),
        ("task_types", with_default("archive", Small)),
    ]
}

/// The statements of this step.
pub(crate) fn statements(backend: Backend) -> Vec<String> {
    columns().iter().map(|(table, column)| add_column(table, column, backend)).collect()
}
