//! Brings the rows up fast: tasks that are written as they stand after their life.
//!
//! They go past broker and claim, by the store's own row writer. Rolls are the governor's: it sees
//! the counts that the ballast keeps up.

use super::{reads, rows::Rows};
use crate::error::BenchError;
use asyncflow_core::{id::TypeName, task::Labels};
use asyncflow_store::{
    Backend, Store, StoreOptions,
    testing::{fill_finished, vacuum_and_checkpoint},
};
use std::time::Duration;
use tokio::task::JoinSet;

/// Rows of one transaction: one multi-row INSERT.
const BATCH: u64 = 700;
const WRITERS: usize = 4;
const USERS: u64 = 20;
/// One batch of so many has labels.
const LABELLED: u64 = 10;
/// Tasks that lists look for in the oldest shard.
const RARE: usize = 3;
/// SQLite has one writer at a time, and whoever waits for it tries again after up to 25 ms, so a
/// writer without pauses would shut the others out.
const SQLITE_PAUSE: Duration = Duration::from_millis(30);

/// Writes rows into one task type.
pub struct Ballast {
    store: Store,
    task_type: TypeName,
    rows: Rows,
}

impl Ballast {
    /// Opens connections of its own, and writes the first few rows.
    pub async fn connect(url: &str, name: &TypeName, rows: Rows) -> Result<Self, BenchError> {
        let store = Store::connect(&StoreOptions::new(url)).await?;
        let labels = reads::rare_labels();
        fill_finished(&store, name, reads::RARE_USER, &labels, RARE).await?;
        rows.add(RARE as u64);
        Ok(Self { store, task_type: name.clone(), rows })
    }

    /// Lets PostgreSQL work off what the ballast leaves it to do, which would come all at once in
    /// the middle of a later window: a vacuum of up to a million rows, and a checkpoint.
    pub async fn settle(&self) -> Result<(), BenchError> {
        if self.store.backend() == Backend::Postgres {
            vacuum_and_checkpoint(&self.store).await?;
        }
        Ok(())
    }

    /// Writes until `enough` says so, which is asked before every transaction.
    pub async fn fill_until(
        &self,
        enough: impl Fn() -> bool + Clone + Send + Sync + 'static,
    ) -> Result<(), BenchError> {
        let is_sqlite = self.store.backend() == Backend::Sqlite;
        let mut writers = JoinSet::new();
        for _ in 0..if is_sqlite { 1 } else { WRITERS } {
            let (store, task_type) = (self.store.clone(), self.task_type.clone());
            let (rows, enough) = (self.rows.clone(), enough.clone());
            writers.spawn(async move {
                while !enough() {
                    let batch = rows.now() / BATCH;
                    let user = format!("{}{:02}", reads::COMMON_USER, batch % USERS);
                    let is_labelled = (batch / USERS).is_multiple_of(LABELLED);
                    let labels = if is_labelled { reads::common_labels() } else { Labels::new() };
                    fill_finished(&store, &task_type, &user, &labels, BATCH as usize).await?;
                    rows.add(BATCH);
                    if is_sqlite {
                        tokio::time::sleep(SQLITE_PAUSE).await;
                    }
                }
                Ok::<(), BenchError>(())
            });
        }
        while let Some(ended) = writers.join_next().await {
            ended.map_err(|error| BenchError::Other(error.to_string()))??;
        }
        Ok(())
    }
}
