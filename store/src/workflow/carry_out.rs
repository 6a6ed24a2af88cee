//! What is left to be done for workflows when a transaction is committed.

use std::collections::BTreeSet;

use asyncflow_core::{event::Event, id::WorkflowId, task::Task, workflow::progress::NodeState};

use super::{
    follow::{Followed, Happened, follow},
    items::{self, Is},
    left::Left,
    row,
};
use crate::{Store, error::StoreError, ledger::Ledger, wake::CHANGES};

/// Items per look.
const ITEMS_MAX: u32 = 1_000;
/// What is cancelled in one transaction, unless a single workflow is more: so many rows of
/// workflows and of their nodes.
const ROWS_MAX: usize = 2_000;
/// What is said of a task that is cancelled with its workflow.
const CANCEL_MESSAGE: &str = "its workflow is stopped";

impl Store {
    /// Does what is left, and what is then left; answers the tasks that were made. What cannot be
    /// done now is left to the governor.
    pub(crate) async fn carry_out(&self, left: Vec<Left>) -> Vec<Task> {
        let (mut made, mut left) = (Vec::new(), BTreeSet::from_iter(left));
        while !left.is_empty() {
            let followed = self.carry_out_first(&mut left).await;
            made.extend(followed.made);
            left.extend(followed.left);
        }
        made
    }

    /// Does the first of what is left.
    pub(super) async fn carry_out_first(&self, left: &mut BTreeSet<Left>) -> Followed {
        let Some(next) = left.pop_first().filter(|_| !self.is_off("workflow.carries_out")) else {
            return Followed::default();
        };
        let done = match &next {
            Left::Stop { workflow, node } => {
                // All that is to be stopped of a workflow at once.
                let mut nodes = BTreeSet::from([*node]);
                left.retain(|other| match other {
                    Left::Stop { workflow: of, node } if of == workflow => {
                        nodes.insert(*node);
                        false
                    }
                    _ => true,
                });
                self.stop_nodes(*workflow, &nodes).await
            }
            Left::Orphans { task, run } => self.stop_children(task, *run).await,
            Left::Twins { original } => self.stop_twins(original).await,
            Left::Release => self.release_left().await,
            Left::GoOn { workflow, node } => {
                self.happen(vec![(*workflow, Happened::GoOn { node: *node })]).await
            }
        };
        done.unwrap_or_else(|error| {
            tracing::warn!(%error, ?next, "a workflow waits for the governor");
            Followed::default()
        })
    }

    /// Something happens to workflows apart from their tasks.
    pub(super) async fn happen(
        &self,
        happened: Vec<(WorkflowId, Happened)>,
    ) -> Result<Followed, StoreError> {
        let now_ms = self.now_ms().await?;
        let followed = self
            .transact(&(happened, now_ms), |store, tx, (happened, now_ms)| {
                Box::pin(async move {
                    let mut ledger = Ledger::default();
                    let happened = happened.clone();
                    let followed = follow(store, tx, happened, *now_ms, &mut ledger).await?;
                    ledger.write(store, tx, *now_ms).await?;
                    Ok(followed)
                })
            })
            .await
            .map_err(StoreError::exhausted)?;
        // A retry may have put tasks into shards in which nothing was left to do.
        let again = followed.made.iter().filter(|task| task.run > 0);
        again.for_each(|task| self.shards_changed(task.id.task_type()));
        self.announce(&followed.made);
        // The workflows were written, whether tasks were made or not.
        self.wake().ring([CHANGES]);
        Ok(followed)
    }

    /// Cancels workflows, which have so many nodes, a portion in each transaction.
    pub(super) async fn cancel_workflows(
        &self,
        sized: &[(WorkflowId, u32)],
    ) -> Result<Followed, StoreError> {
        let mut all = Followed::default();
        for some in portions(sized) {
            let cancels = some.iter().map(|(id, _)| (*id, Happened::Cancel));
            let followed = self.happen(cancels.collect()).await?;
            all.made.extend(followed.made);
            all.left.extend(followed.left);
        }
        Ok(all)
    }

    async fn still_stopping(
        &self,
        id: WorkflowId,
        nodes: &BTreeSet<u32>,
    ) -> Result<BTreeSet<u32>, StoreError> {
        let numbers: Vec<u32> = nodes.iter().copied().collect();
        let rows = row::nodes(self, self.reader(), id, Some(&numbers)).await?.into_iter();
        let stopping = rows.filter(|(_, node, _)| node.state == NodeState::Stopping);
        Ok(stopping.map(|(number, ..)| number).collect())
    }

    /// Cancels what runs of nodes. What has ended meanwhile refuses, and so much the better.
    async fn stop_nodes(
        &self,
        id: WorkflowId,
        nodes: &BTreeSet<u32>,
    ) -> Result<Followed, StoreError> {
        let (mut all, mut after) = (Followed::default(), None);
        // The items of many nodes are read as those of all.
        let one = nodes.first().copied().filter(|_| nodes.len() == 1);
        loop {
            let page = items::list(self, self.reader(), id, one, after, ITEMS_MAX).await?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(last.place());
            // A workflow that was retried meanwhile runs again.
            let nodes = self.still_stopping(id, nodes).await?;
            let (mut events, mut children) = (Vec::new(), Vec::new());
            for (_, is) in page.into_iter().filter(|(member, _)| nodes.contains(&member.node)) {
                match is {
                    Is::Task(task) => {
                        let message = CANCEL_MESSAGE.to_owned();
                        events.push((task, Event::Cancel { message }));
                    }
                    Is::Workflow(child) => children.push(child),
                }
            }
            let children = row::sizes(self, self.reader(), &children).await?;
            let followed = self.cancel_workflows(&children).await?;
            all.made.extend(followed.made);
            all.left.extend(followed.left);
            let followed = self.apply_for_workflow(events).await;
            all.made.extend(followed.made);
            all.left.extend(followed.left);
        }
    }
}

/// In their order, each as large as one transaction may be.
fn portions(mut sized: &[(WorkflowId, u32)]) -> Vec<&[(WorkflowId, u32)]> {
    let mut portions = Vec::new();
    while !sized.is_empty() {
        let mut rows = 0;
        let fits = |(_, nodes): &&(WorkflowId, u32)| {
            rows += 1 + *nodes as usize;
            rows <= ROWS_MAX
        };
        let count = sized.iter().take_while(fits).count().max(1);
        let (portion, rest) = sized.split_at(count);
        portions.push(portion);
        sized = rest;
    }
    portions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_is_bounded_by_nodes_and_not_by_workflows() {
        let sized = |nodes: &[u32]| -> Vec<(WorkflowId, u32)> {
            nodes.iter().zip(1..).map(|(nodes, id)| (WorkflowId(id), *nodes)).collect()
        };
        let lengths = |nodes: &[u32]| -> Vec<usize> {
            portions(&sized(nodes)).into_iter().map(<[_]>::len).collect()
        };
        assert_eq!(lengths(&[]), [0; 0]);
        assert_eq!(lengths(&[1; 1_500]), [1_000, 500]);
        assert_eq!(lengths(&[999, 999, 1, 10_000, 10_000, 5]), [2, 1, 1, 1, 1]);
        let whole = sized(&[999, 999, 1, 10_000, 10_000, 5]);
        assert_eq!(portions(&whole).concat(), whole);
    }
}
