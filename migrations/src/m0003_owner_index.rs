//! The index on a task's user loses the state, in the shards that are there.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, Statement},
};

use crate::ddl::Backend;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0003_owner_index"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// Shards are changed one by one, and what was done before is left out, so that a step which
    /// was cut off goes on where it was. Nobody is to wait for the last of them.
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = manager.get_database_backend();
        let shards = Statement::from_string(backend, "SELECT task_type, number FROM shards");
        for shard in db.query_all_raw(shards).await? {
            let (task_type, number): (String, i32) =
                (shard.try_get_by_index(0)?, shard.try_get_by_index(1)?);
            let name = format!("t_{task_type}_{number}");
            // A drop that is under way, and may be taken back, has renamed the table.
            for table in [name.clone(), format!("drop_{name}")] {
                // A shard that was dropped keeps its row.
                if manager.has_table(&table).await? {
                    change(manager, &name, &table).await?;
                }
            }
        }
        Ok(())
    }
}

/// The new index is there before the old one goes.
async fn change(manager: &SchemaManager<'_>, name: &str, table: &str) -> Result<(), DbErr> {
    let (old, new) = (format!("{name}_user"), format!("{name}_owner"));
    let on = match Backend::from(manager.get_database_backend()) {
        Backend::Mysql => format!(" ON {table}"),
        Backend::Sqlite | Backend::Postgres => String::new(),
    };
    if !manager.has_index(table, &new).await? {
        run(manager, &format!("CREATE INDEX {new} ON {table} (user_name, id)")).await?;
    }
    if manager.has_index(table, &old).await? {
        run(manager, &format!("DROP INDEX {old}{on}")).await?;
    }
    Ok(())
}

/// Without the limit that PostgreSQL's sessions have on a statement: an index on millions of rows
/// takes its time. Statements that are sent together are one transaction there.
async fn run(manager: &SchemaManager<'_>, statement: &str) -> Result<(), DbErr> {
    let statement = match Backend::from(manager.get_database_backend()) {
        Backend::Postgres => format!("SET LOCAL statement_timeout = 0; {statement}"),
        Backend::Sqlite | Backend::Mysql => statement.to_owned(),
    };
    manager.get_connection().execute_unprepared(&statement).await?;
    Ok(())
}
