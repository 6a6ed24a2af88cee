//! Wakes those whom a committed change concerns, once per batch.

use std::collections::BTreeSet;

use asyncflow_core::{state::TaskState, task::Task};

use crate::{
    Store,
    wake::{CHANGES, commands_topic, type_topic},
};

impl Store {
    /// Rings after a COMMIT: whoever watches, whoever claims or promotes tasks of the type, and the
    /// session that has to stop a task. `tasks` are as they are now.
    pub(crate) fn announce<'a>(&self, tasks: impl IntoIterator<Item = &'a Task>) {
        let mut topics = BTreeSet::new();
        for task in tasks {
            match task.state {
                TaskState::Pending | TaskState::Scheduled => {
                    topics.insert(type_topic(task.id.task_type().as_str()));
                }
                TaskState::Cancelling => {
                    topics.insert(commands_topic(task.holder.session_id));
                }
                _ => {}
            }
            if !topics.contains(CHANGES) {
                topics.insert(CHANGES.to_owned());
            }
        }
        self.wake().ring(topics);
    }
}
