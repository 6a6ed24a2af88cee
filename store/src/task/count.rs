//! Counts tasks without counting rows.

use asyncflow_core::{id::TypeName, state::TaskState};

use super::row::state;
use crate::{Store, backend::sum, error::StoreError, task_type::read_name};

/// Which counts; every field that is set must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CountFilter {
    pub task_type: Option<TypeName>,
    pub user: Option<String>,
    /// Any of these; empty = all.
    pub states: Vec<TaskState>,
}

/// How many tasks of a type a user has in a state; never 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    pub task_type: TypeName,
    pub user: String,
    pub state: TaskState,
    pub tasks: i64,
}

impl Store {
    /// The counts that every transaction keeps up, summed over shards.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn counts(&self, filter: &CountFilter) -> Result<Vec<Count>, StoreError> {
        let n = sum(self.backend(), "n");
        let mut sql = self
            .sql(&format!("SELECT task_type, user_name, state, {n} FROM task_counts WHERE n <> 0"));
        if let Some(task_type) = &filter.task_type {
            sql.push(" AND task_type = ").bind(task_type.as_str());
        }
        if let Some(user) = &filter.user {
            sql.push(" AND user_name = ").bind(user.as_str());
        }
        if !filter.states.is_empty() {
            let codes: Vec<i16> = filter.states.iter().map(|state| state.code()).collect();
            sql.push(" AND ").is_in("state", &codes);
        }
        sql.push(" GROUP BY task_type, user_name, state ORDER BY task_type, user_name, state");
        let mut counts = Vec::new();
        for row in sql.all(self.reader()).await? {
            let tasks: i64 = row.try_get_by_index(3)?;
            if tasks != 0 {
                counts.push(Count {
                    task_type: read_name(row.try_get_by_index(0)?)?,
                    user: row.try_get_by_index(1)?,
                    state: state(row.try_get_by_index(2)?)?,
                    tasks,
                });
            }
        }
        Ok(counts)
    }
}
