//! Which types have had commands, so that workers that run nothing else leave the others alone.

use sea_orm_migration::{prelude::*, sea_orm::ConnectionTrait};

use crate::ddl::{Backend, Column, Kind::Small, add_column, null};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0011_commands"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// What was done before is left out, so that a step which was cut off goes on where it was.
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if !manager.has_column(TYPES, COLUMN.0).await? {
            for statement in statements(manager.get_database_backend().into()) {
                manager.get_connection().execute_unprepared(&statement).await?;
            }
        }
        Ok(())
    }
}

const TYPES: &str = "task_types";

/// 0 until a task of the type comes with a command; NULL where nobody looked: it may have.
const COLUMN: Column = null("has_commands", Small);

/// The statements of this step.
pub(crate) fn statements(backend: Backend) -> Vec<String> {
    vec![add_column(TYPES, &COLUMN, backend)]
}
