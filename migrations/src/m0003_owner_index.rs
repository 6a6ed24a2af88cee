//! The index on a task's user loses the state, in the shards that are there.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, Statement},
};

use crate::{ddl::Backend, shard::OWNER_COLUMNS};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0003_owner_index"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// Shards are changed one by one, each by statements that are left out when they were run
    /// before, so that a step which was cut off goes on where it was.
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = manager.get_database_backend();
        let shards = Statement::from_string(backend, "SELECT task_type, number FROM shards");
        for shard in db.query_all_raw(shards).await? {
            let (task_type, number): (String, i32) =
                (shard.try_get_by_index(0)?, shard.try_get_by_index(1)?);
            let table = format!("t_{task_type}_{number}");
            // One that was dropped keeps its row.
            if !manager.has_table(&table).await? {
                continue;
            }
            let (old, new) = (format!("{table}_user"), format!("{table}_owner"));
            if !manager.has_index(&table, &new).await? {
                let make = format!("CREATE INDEX {new} ON {table} ({OWNER_COLUMNS})");
                db.execute_unprepared(&make).await?;
            }
            if manager.has_index(&table, &old).await? {
                let on = if Backend::from(backend) == Backend::Mysql {
                    format!(" ON {table}")
                } else {
                    String::new()
                };
                db.execute_unprepared(&format!("DROP INDEX {old}{on}")).await?;
            }
        }
        Ok(())
    }
}
