//! Changes task types.

use asyncflow_core::{id::TypeName, task_type::TaskType};

use super::{COLUMNS, HAS_COMMANDS, TOPIC, read, values};
use crate::{Store, backend::for_update, error::StoreError};

impl Store {
    /// Changes a task type by compare-and-swap. The name, the revision and the times are not for
    /// `change` to touch: they are set back. Whether it has commands is left as it is.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when `expected_revision` is given and is not the current one; those
    /// of the database.
    pub async fn update_type(
        &self,
        name: &TypeName,
        expected_revision: Option<i64>,
        change: impl FnOnce(&mut TaskType),
    ) -> Result<TaskType, StoreError> {
        let now_ms = self.now_ms().await?;
        self.type_cache().forget(name);
        let before = self.get_type(name).await?.ok_or(StoreError::NotFound)?;
        if expected_revision.is_some_and(|expected| expected != before.revision) {
            return Err(StoreError::Conflict { current: before.revision });
        }
        let mut after = before.clone();
        change(&mut after);
        after.name = before.name.clone();
        after.revision = before.revision + 1;
        after.create_time_ms = before.create_time_ms;
        after.update_time_ms = now_ms;
        self.transact(&after, |store, tx, after| {
            Box::pin(async move {
                let mut sql = store.sql(&format!("SELECT {COLUMNS} FROM task_types WHERE name = "));
                sql.bind(after.name.as_str()).push(for_update(store.backend()));
                let row = sql.one(tx).await?.ok_or(StoreError::NotFound)?;
                let current = read(&row)?.revision;
                if current + 1 != after.revision {
                    return Err(StoreError::Conflict { current });
                }
                let mut sql = store.sql("UPDATE task_types SET ");
                let columns = COLUMNS.split(',').map(str::trim);
                let changed = columns.zip(values(after)).filter(|(name, _)| *name != HAS_COMMANDS);
                for (at, (column, value)) in changed.enumerate().skip(1) {
                    sql.push(if at > 1 { ", " } else { "" }).push(column).push(" = ").bind(value);
                }
                sql.push(" WHERE name = ").bind(after.name.as_str()).run(tx).await
            })
        })
        .await?;
        self.type_cache().forget(name);
        self.wake().ring([TOPIC]);
        Ok(after)
    }
}
