//! SQLite's room. It has one writer, and dropping a table visits every page of it under the
//! writer's lock: so a table is emptied in short transactions first, and the pages that this frees
//! are given back to the file system in short ones too.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use super::ddl::Ddl;
use crate::{Store, backend::Backend, error::StoreError};

/// Rows per transaction.
const ROWS_MAX: i64 = 2_000;
/// Pages of 4 KiB per transaction.
const PAGES_MAX: u32 = 500;
/// Between two transactions, so that those who wait for the writer get it.
const PAUSE: Duration = Duration::from_millis(2);

impl Store {
    /// Deletes the rows of a shard's tables in their order, tasks first.
    pub(super) async fn empty(
        &self,
        tables: &[String; 3],
        ddl: &Ddl<'_>,
    ) -> Result<(), StoreError> {
        for (table, key) in tables.iter().zip(["id", "task_key", "task_key"]) {
            loop {
                let mut sql = self.sql(&format!("SELECT {key} FROM {table} ORDER BY {key} LIMIT "));
                sql.bind(ROWS_MAX);
                let rows = match sql.all(self.reader()).await {
                    Ok(rows) => rows,
                    // An earlier drop came as far as here.
                    Err(StoreError::NoSuchTable(_)) => break,
                    Err(error) => return Err(error),
                };
                let Some(last) = rows.last() else { break };
                let border: i64 = last.try_get_by_index(0)?;
                ddl.run(&[format!("DELETE FROM {table} WHERE {key} <= {border}")]).await?;
                self.fault_point("drop.emptied").await;
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Shortens SQLite's file by its free pages. Files made before it was set up for that keep
    /// their size and use the room again.
    pub(super) async fn give_room_back(&self) -> Result<(), StoreError> {
        if self.backend() != Backend::Sqlite {
            return Ok(());
        }
        let mut free = self.free_pages().await?;
        while free > 0 {
            let statement = format!("PRAGMA incremental_vacuum({PAGES_MAX})");
            self.writer().execute_unprepared(&statement).await?;
            tokio::time::sleep(PAUSE).await;
            let left = self.free_pages().await?;
            if left >= free {
                break;
            }
            free = left;
        }
        Ok(())
    }

    async fn free_pages(&self) -> Result<i64, StoreError> {
        let row = self.sql("PRAGMA freelist_count").one(self.writer()).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0))
    }
}
