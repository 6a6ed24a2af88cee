//! One transaction of an operation: tasks, counters, cursor and lease change together or not at
//! all, and only while the lease is the one in force.

use std::collections::BTreeMap;

use asyncflow_core::{
    id::TaskId,
    operation::{ISSUE_BYTES_MAX, ISSUES_MAX, Issue, OperationState},
    page::PagePosition,
    task::Task,
    validate::text,
};
use sea_orm::DatabaseTransaction;

use super::{
    advance::Turn,
    labels::without_labels,
    row::{self, Operation},
};
use crate::{
    Store,
    backend::now_sql,
    error::StoreError,
    task::{Answer, ApplyError, Item, Places, apply_within, delete_within},
    workflow::Left,
};

/// Where an operation goes on after a step.
#[derive(Clone, Debug)]
pub(super) enum Next {
    /// At the same place: this was a part of a page.
    Stays,
    GoesOn(PagePosition),
    /// Nothing is behind it.
    Ends,
}

/// What is done in one transaction.
pub(super) struct Step<'a> {
    pub turn: &'a Turn,
    /// The operation as it was when the tasks were listed.
    pub at: &'a Operation,
    pub ids: &'a [TaskId],
    /// What happens to them; empty when they are deleted.
    pub items: Vec<Item>,
    pub places: Places,
    /// Tasks that could not be changed.
    pub failed: Vec<Issue>,
    pub next: Next,
    pub now_ms: i64,
}

/// What came of it.
pub(super) enum Stepped {
    Done {
        operation: Box<Operation>,
        answers: Vec<Answer>,
        /// As they were.
        deleted: Vec<Task>,
        left: Vec<Left>,
    },
    /// The row was written since it was read.
    Moved,
    /// It is over, or somebody else has taken it.
    Lost,
}

impl Step<'_> {
    pub async fn run(
        &self,
        store: &Store,
        tx: &DatabaseTransaction,
    ) -> Result<Stepped, StoreError> {
        let Some(operation) = row::lock(store, tx, self.at.id).await? else {
            return Ok(Stepped::Lost);
        };
        let is_fenced = !store.is_off("operation.epoch");
        if operation.state.is_over() || is_fenced && operation.epoch != self.turn.lease.epoch {
            return Ok(Stepped::Lost);
        }
        if is_fenced && operation.revision != self.at.revision {
            return Ok(Stepped::Moved);
        }
        let mut after = Box::new(operation);
        let (mut answers, mut deleted, mut left) = (Vec::new(), Vec::new(), Vec::new());
        let moved = without_labels(store, tx, self).await?;
        if self.at.request.event().is_none() {
            for (id, answer) in self.ids.iter().zip(self.delete(store, tx, &moved).await?) {
                count(&mut after, id, answer.as_ref().err());
                deleted.extend(answer.ok());
            }
        } else if !self.items.is_empty() {
            (answers, left) = self.apply(store, tx, &moved).await?;
            for (id, answer) in self.ids.iter().zip(&answers) {
                count(&mut after, id, answer.as_ref().err());
            }
        }
        self.failed.iter().for_each(|issue| fail(&mut after, issue.clone()));
        self.move_on(&mut after);
        self.write(store, tx, &after).await?;
        store.fault_point("operation.written").await;
        Ok(Stepped::Done { operation: after, answers, deleted, left })
    }

    async fn delete(
        &self,
        store: &Store,
        tx: &DatabaseTransaction,
        moved: &Moved,
    ) -> Result<Vec<Result<Task, ApplyError>>, StoreError> {
        let ids: Vec<TaskId> =
            self.ids.iter().filter(|id| !moved.contains_key(id)).cloned().collect();
        let deleted = delete_within(store, tx, &ids, self.turn.guard).await?;
        Ok(with_moved(self.ids, moved, deleted))
    }

    async fn apply(
        &self,
        store: &Store,
        tx: &DatabaseTransaction,
        moved: &Moved,
    ) -> Result<(Vec<Answer>, Vec<Left>), StoreError> {
        let items: Vec<Item> =
            self.items.iter().filter(|item| !moved.contains_key(&item.id)).cloned().collect();
        let (applied, left) = apply_within(store, tx, &items, &self.places, self.now_ms).await?;
        Ok((with_moved(self.ids, moved, applied), left))
    }

    fn move_on(&self, operation: &mut Operation) {
        operation.revision += 1;
        if let Next::GoesOn(position) = &self.next {
            operation.position = position.clone();
        }
        let changed = operation.tally.changed;
        let is_full = operation.request.changes_max.is_some_and(|most| changed >= most);
        let is_whole = !matches!(self.next, Next::Stays);
        if !is_whole || !(is_full || matches!(self.next, Next::Ends)) {
            return;
        }
        operation.state = match operation.tally.failed {
            0 => OperationState::Succeeded,
            failed => {
                let tasks = if failed == 1 { "task" } else { "tasks" };
                operation.error = Some(format!("{failed} {tasks} could not be changed"));
                OperationState::Failed
            }
        };
    }

    async fn write(
        &self,
        store: &Store,
        tx: &DatabaseTransaction,
        after: &Operation,
    ) -> Result<(), StoreError> {
        let (now, tally) = (now_sql(store.backend()), &after.tally);
        let mut sql = store.sql("UPDATE operations SET revision = ");
        sql.bind(after.revision).push(", state = ").bind(after.state.code());
        sql.push(", cursor_token = ").bind(row::cursor(after.id, &after.position));
        sql.push(", matched = ").bind(tally.matched).push(", changed = ").bind(tally.changed);
        sql.push(", skipped = ").bind(tally.skipped).push(", failed = ").bind(tally.failed);
        sql.push(", issues = ").bind(row::issues(&after.issues)?);
        sql.push(", error = ").bind(after.error.clone());
        sql.push(&format!(", update_time_ms = {now}, lease_until_ms = {now} + "));
        sql.bind(self.turn.ttl_ms);
        if after.state.is_over() {
            sql.push(&format!(", finish_time_ms = {now}"));
        }
        // The row is locked: nobody has written it since it was looked at.
        sql.push(" WHERE id = ").bind(after.id.0).run(tx).await?;
        Ok(())
    }
}

/// Tasks that are not among the chosen ones any more, as they are.
pub(super) type Moved = BTreeMap<TaskId, Task>;

/// The answers for all of these, where those that have moved on have none yet.
fn with_moved<T>(
    ids: &[TaskId],
    moved: &Moved,
    answers: Vec<Result<T, ApplyError>>,
) -> Vec<Result<T, ApplyError>> {
    let mut answers = answers.into_iter();
    let answer = |id| match moved.get(id) {
        Some(task) => Err(ApplyError::MovedOn(Box::new(task.clone()))),
        None => answers.next().unwrap_or(Err(ApplyError::NotFound)),
    };
    ids.iter().map(answer).collect()
}

/// Counts what became of a task. A task that is not changed is no error: its state, or its
/// workflow, does not allow it, or it has moved on.
fn count(operation: &mut Operation, id: &TaskId, error: Option<&ApplyError>) {
    operation.tally.matched += 1;
    match error {
        None => operation.tally.changed += 1,
        Some(error) => {
            operation.tally.skipped += 1;
            note(operation, Issue { task_id: id.to_string(), message: error.to_string() });
        }
    }
}

fn fail(operation: &mut Operation, issue: Issue) {
    operation.tally.matched += 1;
    operation.tally.failed += 1;
    note(operation, issue);
}

fn note(operation: &mut Operation, mut issue: Issue) {
    if operation.issues.len() < ISSUES_MAX {
        issue.message = text::cut(&issue.message, ISSUE_BYTES_MAX);
        operation.issues.push(issue);
    }
}
