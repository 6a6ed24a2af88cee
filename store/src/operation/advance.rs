//! Carries an operation on by one page.

use asyncflow_core::{
    id::TaskId,
    operation::{Issue, OperationKind},
    task::Task,
};

use super::{
    row::{self, Operation},
    step::{Next, Step, Stepped},
    take::OperationLease,
};
use crate::{
    Store,
    error::StoreError,
    task::{Guard, Item, Parts, StateSet},
    wake::OPERATIONS,
};

/// What came of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Advance {
    /// It goes on.
    On {
        /// Tasks that may be ready to be claimed now.
        ready: Vec<Task>,
    },
    /// It has ended, or somebody else has taken it.
    Over { ready: Vec<Task> },
}

impl Store {
    /// Does the next page of an operation, at most `rows` tasks, and renews the lease by `ttl_ms`.
    ///
    /// Cancel safe: a page is done as a whole or not at all.
    ///
    /// # Errors
    /// Those of the database; after a retryable one, do it again. A page may then have been done:
    /// it is not done twice.
    pub async fn advance_operation(
        &self,
        lease: &OperationLease,
        rows: u32,
        ttl_ms: i64,
    ) -> Result<Advance, StoreError> {
        let nothing = Advance::Over { ready: Vec::new() };
        let Some(at) = row::find(self, self.reader(), lease.id).await? else { return Ok(nothing) };
        if at.state.is_over() || at.epoch != lease.epoch {
            return Ok(nothing);
        }
        let filter = at.request.chosen_before(at.id);
        let filter = filter.map_err(|wrong| StoreError::Corrupt(wrong.description))?;
        let left = at.request.changes_max.map_or(i64::MAX, |most| most - at.tally.changed);
        let rows = u32::try_from(left.max(1)).map_or(rows, |left| left.min(rows));
        let page = self.list(&filter, Some(&at.position), rows, Parts::NONE).await?;
        self.fault_point("operation.listed").await;

        let finished_before_ms = match at.request.kind {
            // What has failed again since was retried.
            OperationKind::Retry => filter.created_before_ms.unwrap_or(i64::MAX),
            OperationKind::Cancel | OperationKind::Delete | OperationKind::Purge => i64::MAX,
        };
        let guard = Guard::Chosen { states: StateSet::of(&filter.states), finished_before_ms };
        let ids: Vec<TaskId> = page.tasks.into_iter().map(|full| full.task.id).collect();
        let turn = Turn { lease: *lease, guard, labels: filter.labels, ttl_ms };
        let next = page.next.map_or(Next::Ends, Next::GoesOn);
        match self.take_step(&turn, &at, &ids, Vec::new(), next.clone()).await {
            Err(StoreError::NoSuchTable(_)) => {
                // A shard was dropped since the list was read.
                ids.iter().for_each(|id| self.shard_cache().forget(id.task_type()));
                Ok(Advance::On { ready: Vec::new() })
            }
            Err(error) if error.may_be_one_row() && !ids.is_empty() => {
                self.one_by_one(&turn, at, &ids, next).await
            }
            Err(error) => {
                if matches!(error, StoreError::Unavailable { .. }) {
                    self.leases().forget_all();
                }
                Err(error.exhausted())
            }
            Ok(stepped) => Ok(stepped.advance().0),
        }
    }

    /// The page of which one row is broken, each row by itself.
    async fn one_by_one(
        &self,
        turn: &Turn,
        mut at: Operation,
        ids: &[TaskId],
        next: Next,
    ) -> Result<Advance, StoreError> {
        let mut ready = Vec::new();
        for id in ids {
            let one = std::slice::from_ref(id);
            let stepped = match self.take_step(turn, &at, one, Vec::new(), Next::Stays).await {
                Err(error) if error.may_be_one_row() => {
                    tracing::error!(%error, task_id = %id, operation = %at.id, "left out");
                    let message = "it could not be changed; the broker's log says why".to_owned();
                    let failed = vec![Issue { task_id: id.to_string(), message }];
                    self.take_step(turn, &at, &[], failed, Next::Stays).await?
                }
                stepped => stepped?,
            };
            let (advance, operation) = stepped.advance();
            let (more, is_over) = match advance {
                Advance::On { ready } => (ready, false),
                Advance::Over { ready } => (ready, true),
            };
            ready.extend(more);
            match operation {
                Some(operation) => at = operation,
                None if is_over => return Ok(Advance::Over { ready }),
                None => return Ok(Advance::On { ready }),
            }
        }
        let advance = self.take_step(turn, &at, &[], Vec::new(), next).await?.advance().0;
        Ok(match advance {
            Advance::On { .. } => Advance::On { ready },
            Advance::Over { .. } => Advance::Over { ready },
        })
    }

    async fn take_step(
        &self,
        turn: &Turn,
        at: &Operation,
        ids: &[TaskId],
        failed: Vec<Issue>,
        next: Next,
    ) -> Result<Stepped, StoreError> {
        let event = at.request.event();
        let item = |id: &TaskId| {
            let (id, guard) = (id.clone(), turn.guard);
            event.clone().map(|event| Item { id, event, guard })
        };
        let items: Vec<Item> = ids.iter().filter_map(item).collect();
        let places = self.places(ids.iter().map(|id| &id.shard)).await?;
        let step =
            Step { turn, at, ids, items, places, failed, next, now_ms: self.now_ms().await? };
        let mut stepped =
            self.transact(&step, |store, tx, step| Box::pin(step.run(store, tx))).await?;
        if let Stepped::Done { operation, answers, deleted, left, .. } = &mut stepped {
            self.tell_applied(&step.items, answers);
            self.announce(deleted.iter());
            if operation.state.is_over() {
                self.wake().ring([OPERATIONS]);
            }
            let left = std::mem::take(left);
            let made = self.leave(left).await;
            if let Some(first) = answers.iter_mut().flatten().next() {
                first.made.extend(made);
            }
        }
        Ok(stepped)
    }
}

/// What is the same for all rows of a page.
pub(super) struct Turn {
    pub lease: OperationLease,
    pub guard: Guard,
    /// Which are to be there still.
    pub labels: Vec<(String, String)>,
    pub ttl_ms: i64,
}

impl Stepped {
    /// What came of it, and the operation after it.
    fn advance(self) -> (Advance, Option<Operation>) {
        match self {
            Self::Done { operation, answers, .. } => {
                let applied = answers.into_iter().flatten();
                let ready = applied
                    .flat_map(|applied| std::iter::once(applied.task).chain(applied.made))
                    .collect();
                match operation.state.is_over() {
                    true => (Advance::Over { ready }, None),
                    false => (Advance::On { ready }, Some(*operation)),
                }
            }
            // Something was written that this process does not know of, such as its own page whose
            // COMMIT was not answered: it looks again.
            Self::Moved => (Advance::On { ready: Vec::new() }, None),
            Self::Lost => (Advance::Over { ready: Vec::new() }, None),
        }
    }
}
