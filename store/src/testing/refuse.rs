//! A database that refuses to change one task, as a broken row would make it.

use asyncflow_core::{id::TaskId, state::TaskState};
use sea_orm::ConnectionTrait;

use crate::{Store, StoreError, backend::Backend};

/// From now on a task that is PENDING cannot leave that state, whoever asks.
///
/// # Errors
/// Those of the database.
pub async fn refuse_changes(store: &Store, id: &TaskId) -> Result<(), StoreError> {
    let (table, key, pending) = (id.shard.task_table(), id.key, TaskState::Pending.code());
    let statement = match store.backend() {
        Backend::Sqlite => format!(
            "CREATE TRIGGER refuse_{key} BEFORE UPDATE ON {table} WHEN OLD.id = {key} \
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        ),
        Backend::Mysql | Backend::Postgres => format!(
            "ALTER TABLE {table} ADD CONSTRAINT refuse_{key} \
             CHECK (id <> {key} OR state = {pending})"
        ),
    };
    store.writer().execute_unprepared(&statement).await?;
    Ok(())
}
