//! Which task is whose twin.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::{id::TaskId, task::Task};

use super::row;
use crate::{Store, error::StoreError};

impl Store {
    /// The twin of a task in its present run, or the task that it is the twin of.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn twin_of(&self, task: &Task) -> Result<Option<TaskId>, StoreError> {
        if task.ties.twin {
            let found = row::of_twins(self, self.reader(), [&task.id]).await?.pop();
            return Ok(found.map(|twin| twin.original));
        }
        if !task.ties.twinned {
            return Ok(None);
        }
        let found = row::of_run(self, self.reader(), &task.id, task.run).await?;
        Ok(found.map(|twin| twin.twin))
    }

    /// The hosts that twins are to keep away from.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn hosts_to_avoid(
        &self,
        twins: &[TaskId],
    ) -> Result<BTreeMap<TaskId, String>, StoreError> {
        let found = row::of_twins(self, self.reader(), twins).await?;
        Ok(found.into_iter().map(|twin| (twin.twin, twin.host)).collect())
    }

    /// Those of the tasks that have had a twin, with the run in which they had it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn twinned(&self, tasks: &[TaskId]) -> Result<BTreeSet<(TaskId, i32)>, StoreError> {
        let found = row::of_originals(self, self.reader(), tasks).await?;
        Ok(found.into_iter().map(|twin| (twin.original, twin.run)).collect())
    }
}
