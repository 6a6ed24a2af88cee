//! What is left to be done for workflows when a transaction is committed.

use std::collections::VecDeque;

use asyncflow_core::{event::Event, id::WorkflowId, task::Task};

use super::{
    follow::{Followed, Happened, Left, follow},
    items::{self, Is},
};
use crate::{Store, error::StoreError, ledger::Ledger};

/// Items per look.
const ITEMS_MAX: u32 = 1_000;
/// What is said of a task that is cancelled with its workflow.
const CANCEL_MESSAGE: &str = "its workflow is stopped";

impl Store {
    /// Does what is left, and what is then left; answers the tasks that were made. What cannot be
    /// done now is left to the governor.
    pub(crate) async fn carry_out(&self, left: Vec<Left>) -> Vec<Task> {
        let mut made = Vec::new();
        if self.is_off("workflow.carries_out") {
            return made;
        }
        let mut left = VecDeque::from(left);
        while let Some(next) = left.pop_front() {
            let done = match next {
                Left::Stop { workflow, node } => self.stop_node(workflow, node).await,
                Left::GoOn { workflow, node } => {
                    self.happen(workflow, Happened::GoOn { node }).await
                }
            };
            match done {
                Ok(followed) => {
                    made.extend(followed.made);
                    left.extend(followed.left);
                }
                Err(error) => tracing::warn!(%error, ?next, "a workflow waits for the governor"),
            }
        }
        made
    }

    /// Something happens to a workflow apart from its tasks.
    pub(super) async fn happen(
        &self,
        id: WorkflowId,
        happened: Happened,
    ) -> Result<Followed, StoreError> {
        let now_ms = self.now_ms().await?;
        let followed = self
            .transact(&(id, happened, now_ms), |store, tx, (id, happened, now_ms)| {
                Box::pin(async move {
                    let mut ledger = Ledger::default();
                    let happened = vec![(*id, *happened)];
                    let followed = follow(store, tx, happened, *now_ms, &mut ledger).await?;
                    ledger.write(store, tx, *now_ms).await?;
                    Ok(followed)
                })
            })
            .await
            .map_err(StoreError::exhausted)?;
        self.announce(&followed.made);
        Ok(followed)
    }

    /// Cancels what runs of a node. What has ended meanwhile refuses, and so much the better.
    async fn stop_node(&self, id: WorkflowId, node: u32) -> Result<Followed, StoreError> {
        let (mut all, mut after) = (Followed::default(), None);
        loop {
            let page = items::list(self, self.reader(), id, Some(node), after, ITEMS_MAX).await?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(last.place());
            let mut events = Vec::new();
            for (_, is) in page {
                match is {
                    Is::Task(task) => {
                        let message = CANCEL_MESSAGE.to_owned();
                        events.push((task, Event::Cancel { message }));
                    }
                    Is::Workflow(child) => {
                        let followed = self.happen(child, Happened::Cancel).await?;
                        all.made.extend(followed.made);
                        all.left.extend(followed.left);
                    }
                }
            }
            let followed = self.apply_for_workflow(events).await;
            all.made.extend(followed.made);
            all.left.extend(followed.left);
        }
    }
}
