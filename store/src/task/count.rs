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
        let n = sum(self.backend(), "c.n");
        let mut sql = self.sql(&format!("SELECT c.task_type, c.user_name, c.state, {n} FROM "));
        match &filter.user {
            // The key of the counts begins with type and shard, which the registry knows.
            Some(user) => {
                sql.push("shards s JOIN task_counts c ON c.task_type = s.task_type");
                sql.push(" AND c.shard = s.number AND c.user_name = ").bind(user.as_str());
            }
            None => {
                sql.push("task_counts c");
            }
        }
        sql.push(" WHERE c.n <> 0");
        if let Some(task_type) = &filter.task_type {
            sql.push(" AND c.task_type = ").bind(task_type.as_str());
        }
        if !filter.states.is_empty() {
            let codes: Vec<i16> = filter.states.iter().map(|state| state.code()).collect();
            sql.push(" AND ").is_in("c.state", &codes);
        }
        let key = "c.task_type, c.user_name, c.state";
        sql.push(&format!(" GROUP BY {key} ORDER BY {key}"));
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
