//! What is left to be done for workflows, handed from those who are waited for to one who is not.

use std::sync::OnceLock;

use asyncflow_core::task::Task;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::follow::Left;
use crate::Store;

/// Where it is sent, once somebody takes it.
#[derive(Default)]
pub(crate) struct LeftSender(OnceLock<UnboundedSender<Vec<Left>>>);

/// What is left to be done for workflows by this process.
pub struct LeftOvers {
    store: Store,
    left: UnboundedReceiver<Vec<Left>>,
}

impl Store {
    /// From now on what is left to be done for workflows is done by whoever calls
    /// [`LeftOvers::next`], and not by those who end their parts. `None` if somebody does already.
    pub fn take_left_overs(&self) -> Option<LeftOvers> {
        let (sender, left) = unbounded_channel();
        let is_first = self.left().0.set(sender).is_ok();
        is_first.then(|| LeftOvers { store: self.clone(), left })
    }

    /// Hands over what is left, or does it here and answers the tasks that were made.
    pub(crate) async fn leave(&self, left: Vec<Left>) -> Vec<Task> {
        if left.is_empty() {
            return Vec::new();
        }
        let Some(sender) = self.left().0.get() else { return self.carry_out(left).await };
        match sender.send(left) {
            Ok(()) => Vec::new(),
            // Whoever took it has ended.
            Err(unsent) => self.carry_out(unsent.0).await,
        }
    }
}

impl LeftOvers {
    /// Waits until something is left, and does it; answers the tasks that were made. Cancel safe:
    /// what is not done then is left to the governor.
    pub async fn next(&mut self) -> Option<Vec<Task>> {
        let left = self.left.recv().await?;
        Some(self.store.carry_out(left).await)
    }
}
