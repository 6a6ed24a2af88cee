//! The bugs of systems that end a task by its id alone, or by its state alone: only where a test
//! has switched off the guards `settle.state` or `settle.fence` ([`crate::fault`]).

use std::borrow::Cow;

use asyncflow_core::{
    event::{Event, Fence},
    state::TaskState,
    task::Task,
};

use super::{apply::Item, write::Batch};
use crate::Store;

/// What is applied for this item. Without the guards an end is taken from whoever names the task:
/// while it is leased, or in any state.
pub(super) fn planted<'a>(store: &Store, batch: &mut Batch, item: &'a Item) -> Cow<'a, Item> {
    let by_id = store.is_off("settle.state");
    let task = batch.task(item.id.key).filter(|_| by_id || store.is_off("settle.fence"));
    let (Some(task), Event::Settle { .. }) = (task, &item.event) else {
        return Cow::Borrowed(item);
    };
    let mut forged = item.clone();
    if let Event::Settle { fence, .. } = &mut forged.event {
        *fence = Fence { attempt: task.attempt, session_id: task.holder.session_id };
    }
    if by_id {
        let leased = Task { state: TaskState::Running, ..task.clone() };
        batch.extend(Batch::of(&item.id.shard, [leased]));
    }
    Cow::Owned(forged)
}
