//! Twins are not for the hosts on which their originals run.
//!
//! A claim does not know hosts: it takes what stands first. So a twin that it brought to the wrong
//! one goes back, and waits a while, longer each time, so that others come to it. That happens to
//! so few tasks that those who claim all the others are spared any thought of it.

use asyncflow_core::{id::TaskId, speculation::step_aside_ms, task::FullTask};
use asyncflow_store::{Assigned, StoreError};

use super::{Dispatch, release};

/// What the history says of it.
const MESSAGE: &str = "it was handed to the host that it is to keep away from";

impl Dispatch {
    /// Gives back the twins among tasks that were claimed for a worker on their originals' host;
    /// answers the others.
    ///
    /// Cancel safe: what is neither answered nor given back goes back when it is not started.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn without_twins_of(
        &self,
        host: &str,
        tasks: Vec<Assigned>,
    ) -> Result<Vec<Assigned>, StoreError> {
        let twins = tasks.iter().map(|one| &one.full.task).filter(|task| task.ties.twin);
        let twins: Vec<TaskId> = twins.map(|task| task.id.clone()).collect();
        if twins.is_empty() {
            return Ok(tasks);
        }
        let hosts = self.shared.store.hosts_to_avoid(&twins).await?;
        let avoids = |one: &Assigned| hosts.get(&one.full.task.id).is_some_and(|of| of == host);
        let (back, fit): (Vec<_>, Vec<_>) = tasks.into_iter().partition(avoids);
        let dispatch = self.clone();
        self.shared.tracker.spawn(async move {
            let events =
                back.into_iter().map(|Assigned { full: FullTask { task, .. }, .. }| {
                    let delay_ms = step_aside_ms(task.attempt);
                    release(task, MESSAGE, delay_ms)
                });
            let answers = dispatch.shared.store.apply(events.collect()).await;
            dispatch.note(answers.iter().flatten().map(|applied| &applied.task));
        });
        Ok(fit)
    }
}
