//! What is left to be done for workflows, handed from those who are waited for to one who is not.

use std::{collections::BTreeSet, sync::OnceLock};

use asyncflow_core::{
    id::{TaskId, WorkflowId},
    task::Task,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::Store;

/// What is done in a transaction of its own: it concerns tasks that others may be writing, or would
/// be too much for one. Whoever does it does the first kind first: what is given up is not to begin
/// more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Left {
    /// Cancel what runs of a node.
    Stop { workflow: WorkflowId, node: u32 },
    /// Cancel what a task has made in a run that has ended.
    Orphans { task: TaskId, run: i32 },
    /// Cancel the twin of a task that has ended.
    Twins { original: TaskId },
    /// Take up more of those who wait for what has come.
    Release,
    /// Start more items of a node.
    GoOn { workflow: WorkflowId, node: u32 },
}

/// Where it is sent, once somebody takes it.
#[derive(Default)]
pub(crate) struct LeftSender(OnceLock<UnboundedSender<Vec<Left>>>);

/// What is left to be done for workflows by this process.
pub struct LeftOvers {
    store: Store,
    arriving: UnboundedReceiver<Vec<Left>>,
    todo: BTreeSet<Left>,
}

impl Store {
    /// From now on what is left to be done for workflows is done by whoever calls
    /// [`LeftOvers::next`], and not by those who end their parts. `None` if somebody does already.
    pub fn take_left_overs(&self) -> Option<LeftOvers> {
        let (sender, arriving) = unbounded_channel();
        let is_first = self.left().0.set(sender).is_ok();
        is_first.then(|| LeftOvers { store: self.clone(), arriving, todo: BTreeSet::new() })
    }

    /// Hands over what is left or, where nobody ever took it, does it here and answers the tasks
    /// that were made.
    pub(crate) async fn leave(&self, left: Vec<Left>) -> Vec<Task> {
        if left.is_empty() {
            return Vec::new();
        }
        match self.left().0.get() {
            None => self.carry_out(left).await,
            Some(sender) => {
                // If whoever took it has ended, this process does too: it is the governor's.
                let _ = sender.send(left);
                Vec::new()
            }
        }
    }
}

impl LeftOvers {
    /// Waits until something is left, and does a portion of it; answers the tasks that were made.
    /// Cancel safe: what is not done then is left to the governor.
    pub async fn next(&mut self) -> Option<Vec<Task>> {
        if self.todo.is_empty() {
            self.todo.extend(self.arriving.recv().await?);
        }
        while let Ok(more) = self.arriving.try_recv() {
            self.todo.extend(more);
        }
        let followed = self.store.carry_out_first(&mut self.todo).await;
        self.todo.extend(followed.left);
        Some(followed.made)
    }
}
