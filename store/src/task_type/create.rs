//! Registers task types.

use asyncflow_core::{id::TypeName, task_type::TaskType};

use super::{COLUMNS, TOPIC, values};
use crate::{Store, backend::or_ignore, error::StoreError};

impl Store {
    /// Registers a task type; `false` when the name is taken, whose row is then left as it is. The
    /// revision and the times of `task_type` are set by the store.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn create_type(&self, task_type: TaskType) -> Result<bool, StoreError> {
        let now_ms = self.now_ms().await?;
        let task_type =
            TaskType { revision: 1, create_time_ms: now_ms, update_time_ms: now_ms, ..task_type };
        let inserted = self
            .transact(&task_type, |store, tx, task_type| {
                Box::pin(async move {
                    let mut exists = store.sql("SELECT 1 FROM task_types WHERE name = ");
                    exists.bind(task_type.name.as_str());
                    if exists.one(tx).await?.is_some() {
                        return Ok(false);
                    }
                    let mut sql = store.sql(&format!("INSERT INTO task_types ({COLUMNS}) VALUES "));
                    sql.tuple(values(task_type));
                    // Lost races show as a duplicate, which repeats the transaction.
                    sql.run(tx).await?;
                    Ok(true)
                })
            })
            .await?;
        self.type_cache().forget(&task_type.name);
        if inserted {
            self.wake().ring([TOPIC]);
        }
        Ok(inserted)
    }

    /// The task type of this name, registered with default settings if it is not there. Idempotent,
    /// also when several brokers do it at once.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn ensure_type(&self, name: &TypeName) -> Result<TaskType, StoreError> {
        if let Some(task_type) = self.get_type(name).await? {
            return Ok(task_type);
        }
        let fresh = TaskType::with_defaults(name.clone(), self.now_ms().await?);
        let inserted = self
            .transact(&fresh, |store, tx, fresh| {
                Box::pin(async move {
                    let mut sql = store.sql(&format!("INSERT INTO task_types ({COLUMNS}) VALUES "));
                    sql.tuple(values(fresh));
                    sql.push(&or_ignore(store.backend(), "name", "name"));
                    sql.run(tx).await
                })
            })
            .await?;
        if inserted > 0 {
            self.wake().ring([TOPIC]);
        }
        self.get_type(name).await?.ok_or(StoreError::NotFound)
    }
}
