//! Leased tasks as this process wrote them last.
//!
//! What a worker says of its task mostly comes to the broker that leased it, so the row need not be
//! read again: the new one follows from the one that is known here, and is written under
//! compare-and-swap on its revision. A row that somebody else changed meanwhile fails that compare,
//! and is then read. What is known here never refuses anybody: it only saves a read.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use asyncflow_core::{
    id::{ShardId, TaskId},
    task::Task,
};

/// Tasks of a generation. Two are kept: some 5 MB, of tasks that report as much as they may 60 MB.
const GENERATION_MAX: usize = 4_096;

/// The tasks, by their ids.
#[derive(Default)]
pub(crate) struct Leases(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<TaskId, Task>,
    old: HashMap<TaskId, Task>,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the keys that are known.
    pub fn known(&self, shard: &ShardId, keys: impl IntoIterator<Item = i64>) -> Vec<Task> {
        let generations = self.lock();
        let find = |key| {
            let id = TaskId { shard: shard.clone(), key };
            generations.young.get(&id).or_else(|| generations.old.get(&id)).cloned()
        };
        keys.into_iter().filter_map(find).collect()
    }

    /// The conditions of those of the tasks that are known and have one, with their places.
    pub fn success_ifs<'a>(
        &self,
        tasks: impl IntoIterator<Item = (usize, &'a TaskId)>,
    ) -> Vec<(usize, String)> {
        let generations = self.lock();
        let find = |(at, id)| {
            let task = generations.young.get(id).or_else(|| generations.old.get(id))?;
            (!task.success_if.is_empty()).then(|| (at, task.success_if.clone()))
        };
        tasks.into_iter().filter_map(find).collect()
    }

    /// Knows nothing any more: a server that was away may have lost what it had acknowledged, and
    /// counted up the same revisions anew.
    pub fn forget_all(&self) {
        *self.lock() = Generations::default();
    }

    /// Tasks as they were just committed. Those of two commits may come in either order.
    pub fn note<'a>(&self, committed: impl IntoIterator<Item = &'a Task>) {
        let mut generations = self.lock();
        for task in committed {
            generations.note(task);
        }
    }
}

impl Generations {
    fn note(&mut self, task: &Task) {
        let known = self.young.remove(&task.id).or_else(|| self.old.remove(&task.id));
        if !task.state.is_leased() {
            return;
        }
        let newest = match known {
            Some(known) if known.revision > task.revision => known,
            _ => task.clone(),
        };
        if self.young.len() >= GENERATION_MAX {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(newest.id.clone(), newest);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use asyncflow_core::{create::NewTask, id::TypeName, state::TaskState, task_type::TaskType};

    fn leased(key: i64, revision: i64) -> Task {
        let name: TypeName = "work".parse().unwrap();
        let shard = ShardId { task_type: name.clone(), number: 1 };
        let new = NewTask::new(name.clone(), "ada");
        let task = new.into_task(&TaskType::with_defaults(name, 0), TaskId { shard, key }, 0).task;
        Task { state: TaskState::Running, revision, ..task }
    }

    fn revisions(leases: &Leases, keys: &[i64]) -> Vec<i64> {
        let shard = leased(1, 1).id.shard;
        leases.known(&shard, keys.iter().copied()).iter().map(|task| task.revision).collect()
    }

    #[test]
    fn the_newest_is_known_whatever_the_order_in_which_they_come() {
        let leases = Leases::default();
        leases.note([&leased(1, 5), &leased(1, 4), &leased(2, 7), &leased(2, 8)]);
        assert_eq!(revisions(&leases, &[1, 2, 3]), [5, 8]);
    }

    #[test]
    fn a_task_that_is_not_leased_any_more_is_forgotten() {
        let leases = Leases::default();
        let done = Task { state: TaskState::Succeeded, ..leased(1, 6) };
        leases.note([&leased(1, 5), &done]);
        assert!(revisions(&leases, &[1]).is_empty());
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let leases = Leases::default();
        let many = i64::try_from(GENERATION_MAX).unwrap();
        leases.note(&(0..many * 2).map(|key| leased(key, 1)).collect::<Vec<_>>());
        assert_eq!(revisions(&leases, &[0, many * 2 - 1]), [1, 1]);
        leases.note(&(many * 2..many * 3).map(|key| leased(key, 1)).collect::<Vec<_>>());
        assert_eq!(revisions(&leases, &[0, many * 3 - 1]), [1]);
    }
}
