//! Reads task types.

use asyncflow_core::{id::TypeName, task_type::TaskType};
use sea_orm::ConnectionTrait;

use super::{COLUMNS, read};
use crate::{Store, error::StoreError};

impl Store {
    /// The task type of this name; at most 1.5 seconds old.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn get_type(&self, name: &TypeName) -> Result<Option<TaskType>, StoreError> {
        self.type_within(self.reader(), name).await
    }

    /// The same inside a transaction, where another connection of the pool must not be waited for.
    pub(crate) async fn type_within(
        &self,
        db: &impl ConnectionTrait,
        name: &TypeName,
    ) -> Result<Option<TaskType>, StoreError> {
        if let Some(task_type) = self.type_cache().get(name) {
            return Ok(Some(task_type));
        }
        let mut sql = self.sql(&format!("SELECT {COLUMNS} FROM task_types WHERE name = "));
        sql.bind(name.as_str());
        let Some(row) = sql.one(db).await? else { return Ok(None) };
        let task_type = read(&row)?;
        self.type_cache().put(&task_type);
        Ok(Some(task_type))
    }

    /// At most `limit` task types in order of their names, from the one behind `after`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_types(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<TaskType>, StoreError> {
        let mut sql = self.sql(&format!("SELECT {COLUMNS} FROM task_types WHERE name > "));
        sql.bind(after.unwrap_or_default()).push(" ORDER BY name LIMIT ").bind(i64::from(limit));
        sql.all(self.reader()).await?.iter().map(read).collect()
    }
}
