//! How many tasks match, before anything is done to them.

use std::collections::BTreeMap;

use asyncflow_core::{filter::Filter, state::TaskState};

use crate::{
    Store,
    error::StoreError,
    task::{CountFilter, Parts},
};

/// Tasks of one page.
const PAGE_ROWS: u32 = 1_000;
/// Pages that are looked at; a page of a filter that matches few tasks may be empty.
const PAGES_MAX: usize = 20;

/// How many tasks match, by state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    pub by_state: BTreeMap<TaskState, i64>,
    /// There may be more: the look was ended.
    pub at_least: bool,
}

impl Matching {
    pub fn total(&self) -> i64 {
        self.by_state.values().sum()
    }
}

impl Store {
    /// Counts what matches, in bounded work: exactly, where the counts that are kept up know it;
    /// otherwise the tasks of the first pages of a list.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn matching(&self, filter: &Filter) -> Result<Matching, StoreError> {
        let mut matching = Matching::default();
        let is_counted = filter.labels.is_empty()
            && filter.created_from_ms.is_none()
            && filter.created_before_ms.is_none();
        if is_counted {
            let counted = CountFilter {
                task_type: filter.task_type.clone(),
                user: filter.user.clone(),
                states: filter.states.clone(),
            };
            for count in self.counts(&counted).await? {
                *matching.by_state.entry(count.state).or_default() += count.tasks;
            }
            return Ok(matching);
        }
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let page = self.list(filter, after.as_ref(), PAGE_ROWS, Parts::NONE).await?;
            for full in page.tasks {
                *matching.by_state.entry(full.task.state).or_default() += 1;
            }
            after = page.next;
            if after.is_none() {
                return Ok(matching);
            }
        }
        matching.at_least = true;
        Ok(matching)
    }
}
