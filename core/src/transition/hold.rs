//! What the holder of a lease writes while it holds it.

use super::{Refusal, Step};
use crate::{
    event::Fence,
    limits::METRICS_MAX,
    resources::Resources,
    state::TaskState,
    task::{Content, Holder, Progress},
};

impl Step {
    /// The write must come from the attempt and session in force.
    pub(super) fn fenced(&self, fence: Fence) -> Result<(), Refusal> {
        let task = &self.out.task;
        let lost = Refusal::LeaseLost { given: fence.attempt, in_force: task.attempt };
        if task.attempt != fence.attempt {
            Err(lost)
        } else if task.holder.session_id != fence.session_id {
            Err(Refusal::NotYourLease)
        } else if !task.state.is_leased() {
            Err(lost)
        } else {
            Ok(())
        }
    }

    pub(super) fn claim(
        &mut self,
        worker_id: &str,
        session_id: i64,
        ttl_ms: i64,
    ) -> Result<(), Refusal> {
        self.expect(&[TaskState::Pending], "claimed")?;
        self.enter(TaskState::Running, self.now_ms.saturating_add(ttl_ms));
        let task = &mut self.out.task;
        task.attempt += 1;
        task.holder =
            Holder { worker_id: worker_id.into(), session_id, beats: 0, settle_digest: 0 };
        task.claim_time_ms = Some(self.now_ms);
        task.start_time_ms = None;
        task.progress = Progress::default();
        Ok(())
    }

    pub(super) fn start(&mut self, fence: Fence, ttl_ms: i64) -> Result<(), Refusal> {
        self.heartbeat(fence, ttl_ms)?;
        if self.out.task.start_time_ms.is_some() {
            return Err(Refusal::AlreadyDone);
        }
        let task = &mut self.out.task;
        task.start_time_ms = Some(self.now_ms);
        // The next attempt may go back to the host that this one has kept away from.
        task.resources = Resources::without_avoided_host(task.resources.take());
        Ok(())
    }

    pub(super) fn heartbeat(&mut self, fence: Fence, ttl_ms: i64) -> Result<(), Refusal> {
        self.fenced(fence)?;
        self.out.task.order_time_ms = self.now_ms.saturating_add(ttl_ms);
        self.out.task.holder.beats += 1;
        Ok(())
    }

    /// The new session holds the lease of the same attempt; writes of the old session are refused
    /// from now on.
    pub(super) fn adopt(
        &mut self,
        old: Fence,
        session_id: i64,
        ttl_ms: i64,
    ) -> Result<(), Refusal> {
        if old.attempt == self.out.task.attempt && session_id == self.out.task.holder.session_id {
            self.fenced(Fence { session_id, ..old })?;
            return Err(Refusal::AlreadyDone);
        }
        self.heartbeat(old, ttl_ms)?;
        self.out.task.holder.session_id = session_id;
        Ok(())
    }

    pub(super) fn report(&mut self, fence: Fence, progress: &Progress) -> Result<(), Refusal> {
        self.fenced(fence)?;
        let kept = &mut self.out.task.progress;
        kept.percent = progress.percent.or(kept.percent);
        if !progress.message.is_empty() {
            kept.message.clone_from(&progress.message);
        }
        for (name, value) in &progress.metrics {
            // A metric whose name holds a step number would let the row grow without end.
            if kept.metrics.len() < METRICS_MAX || kept.metrics.contains_key(name) {
                kept.metrics.insert(name.clone(), *value);
            }
        }
        Ok(())
    }

    pub(super) fn save_context(
        &mut self,
        fence: Fence,
        stage: Option<&str>,
        context: Option<&Content>,
        expected_version: Option<i64>,
    ) -> Result<(), Refusal> {
        self.fenced(fence)?;
        let task = &mut self.out.task;
        let current = task.context_version;
        if expected_version.is_some_and(|expected| expected != current) {
            return Err(Refusal::ContextVersion { current });
        }
        task.context_version += 1;
        if let Some(stage) = stage {
            task.stage = stage.into();
        }
        self.out.context = context.cloned();
        Ok(())
    }
}
