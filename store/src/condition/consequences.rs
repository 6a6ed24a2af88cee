//! What follows for others from what became of tasks.

use asyncflow_core::{
    id::{TaskId, WorkflowId},
    state::TaskState,
    task::Task,
};
use sea_orm::DatabaseTransaction;

use super::{
    release::{Due, release},
    rows::{WaitRow, forget, insert},
};
use crate::{
    Store,
    error::StoreError,
    ledger::Ledger,
    twin::{self, TwinEnd},
    workflow::{self, Followed, Happened, Left, is_given_up},
};

/// Gathered while tasks are changed, done before the COMMIT.
#[derive(Default)]
pub(crate) struct Consequences {
    ended: Vec<(WorkflowId, Happened)>,
    due: Vec<Due>,
    left: Vec<Left>,
    twins: Vec<TwinEnd>,
    /// Those that waited, and have failed without what they waited for or begin anew.
    wait_no_more: Vec<TaskId>,
    /// What tasks wait for from now on.
    waits: Vec<WaitRow>,
}

impl Consequences {
    /// Tasks before and after their changes.
    pub fn note<'a>(&mut self, changes: impl Iterator<Item = (&'a Task, &'a Task)> + Clone) {
        self.ended.extend(workflow::ended(changes.clone()));
        for (before, after) in changes {
            let has_ended = after.state.is_terminal() && !before.state.is_terminal();
            if has_ended && after.ties.awaited {
                self.due.push(Due::Ended(after.id.clone(), after.state));
            }
            // What one that is cancelled waits for is kept: another run of it waits on.
            if has_ended && before.is_blocked() && after.state != TaskState::Cancelled {
                self.wait_no_more.push(after.id.clone());
            }
            if has_ended && after.ties.twin {
                self.twins.push((after.id.clone(), after.state));
            }
            if twin::gives_up_twin(before, after) {
                self.left.push(Left::Twins { original: after.id.clone() });
            }
            let gives_up = is_given_up(after.state) && !is_given_up(before.state);
            if gives_up && after.ties.children {
                self.left.push(Left::Orphans { task: after.id.clone(), run: after.run });
            }
        }
    }

    /// A task is BLOCKED until all of this is there.
    pub fn wait(&mut self, waits: Vec<WaitRow>) {
        self.waits.extend(waits);
    }

    /// A task begins anew: whatever it waited for is forgotten.
    pub fn begins_anew(&mut self, id: &TaskId) {
        self.wait_no_more.push(id.clone());
    }

    /// Does it; nothing costs nothing.
    pub async fn follow(
        mut self,
        store: &Store,
        tx: &DatabaseTransaction,
        now_ms: i64,
        ledger: &mut Ledger,
    ) -> Result<Followed, StoreError> {
        let overtaken = self.overtake(store, tx, now_ms, ledger).await?;
        if !self.waits.is_empty() {
            insert(store, tx, self.waits).await?;
        }
        if !self.wait_no_more.is_empty() {
            forget(store, tx, &self.wait_no_more.iter().collect::<Vec<_>>()).await?;
        }
        let mut followed = Followed::default();
        if !self.due.is_empty() || !self.ended.is_empty() {
            let mut released = release(store, tx, self.due, now_ms, ledger).await?;
            released.ended.extend(self.ended);
            followed = released.follow(store, tx, now_ms, ledger).await?;
        }
        followed.made.extend(overtaken);
        followed.left.extend(self.left);
        Ok(followed)
    }

    /// The originals of twins that have succeeded end with them; what follows from that follows
    /// too.
    async fn overtake(
        &mut self,
        store: &Store,
        tx: &DatabaseTransaction,
        now_ms: i64,
        ledger: &mut Ledger,
    ) -> Result<Vec<Task>, StoreError> {
        if self.twins.is_empty() {
            return Ok(Vec::new());
        }
        let ended = std::mem::take(&mut self.twins);
        let changes = twin::overtake(store, tx, ended, now_ms, ledger).await?;
        self.note(changes.iter().map(|(before, after)| (before, after)));
        let mut overtaken = Vec::with_capacity(changes.len());
        for (_, after) in changes {
            if after.ties.children {
                self.left.push(Left::Orphans { task: after.id.clone(), run: after.run });
            }
            overtaken.push(after);
        }
        Ok(overtaken)
    }
}
