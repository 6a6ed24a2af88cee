//! Tasks that need more than a slot, and wait to be placed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use asyncflow_core::{
    id::{TaskId, TypeName},
    placement::Waiting,
    state::TaskState,
    task::Task,
};
use asyncflow_store::SetAside;

/// Tasks of a type that are remembered; there may be more.
const TASKS_MAX: usize = 10_000;

/// All of them, by type.
#[derive(Default)]
pub struct Aside(HashMap<TypeName, OfType>);

#[derive(Default)]
struct OfType {
    tasks: BTreeMap<TaskId, Entry>,
    /// There were more.
    is_cut: bool,
}

/// A task as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub waiting: Waiting,
    pub revision: i64,
}

impl Aside {
    pub fn is_empty(&self) -> bool {
        self.0.values().all(|of| of.tasks.is_empty())
    }

    /// Remembers a task as it is now, or that there are more than are remembered. Whether that is
    /// news.
    pub fn add(&mut self, task: &Task) -> bool {
        if task.state != TaskState::Pending || !task.is_needy() {
            return false;
        }
        let of = self.0.entry(task.id.task_type().clone()).or_default();
        if of.tasks.len() >= TASKS_MAX && !of.tasks.contains_key(&task.id) {
            of.is_cut = true;
            return false;
        }
        let known = of.tasks.get(&task.id);
        // One that was read before somebody else's write tells nothing new.
        if known.is_some_and(|known| known.revision >= task.revision) {
            return false;
        }
        let entry = Entry { waiting: Waiting::of(task), revision: task.revision };
        of.tasks.insert(task.id.clone(), entry);
        true
    }

    /// Removes it, if nothing newer is known of it.
    pub fn remove_at(&mut self, id: &TaskId, revision: i64) {
        if let Some(of) = self.0.get_mut(id.task_type())
            && of.tasks.get(id).is_some_and(|entry| entry.revision <= revision)
        {
            of.tasks.remove(id);
        }
    }

    /// The types of which there are some.
    pub fn types(&self) -> Vec<TypeName> {
        let some = self.0.iter().filter(|(_, of)| !of.tasks.is_empty());
        some.map(|(name, _)| name.clone()).collect()
    }

    /// All of a type.
    pub fn of_type(&self, name: &TypeName) -> impl Iterator<Item = &Entry> {
        self.0.get(name).into_iter().flat_map(|of| of.tasks.values())
    }

    /// What a look back need not find.
    pub fn known(&self, name: &TypeName) -> SetAside {
        let Some(of) = self.0.get(name) else { return SetAside::default() };
        let mut keys: BTreeMap<_, BTreeSet<i64>> = BTreeMap::new();
        if !of.is_cut {
            for id in of.tasks.keys() {
                keys.entry(id.shard.clone()).or_default().insert(id.key);
            }
        }
        SetAside { keys, is_cut: of.is_cut }
    }

    /// The types with more tasks than were remembered, and with room for them by now: they have to
    /// be read from their start.
    pub fn take_shrunk(&mut self) -> Vec<TypeName> {
        let mut shrunk = Vec::new();
        for (name, of) in &mut self.0 {
            if of.is_cut && of.tasks.len() < TASKS_MAX / 2 {
                of.is_cut = false;
                shrunk.push(name.clone());
            }
        }
        shrunk
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use asyncflow_core::{create::NewTask, resources::Resources, task_type::TaskType};

    use super::*;

    fn task(key: i64) -> Task {
        let name: TypeName = "train".parse().unwrap();
        let resources = Some(Resources { gpus: 1, ..Resources::default() });
        let new = NewTask { resources, priority: Some(5), ..NewTask::new(name.clone(), "ana") };
        let mut id: TaskId = "train-1-0000000000001".parse().unwrap();
        id.key = key;
        new.into_task(&TaskType::with_defaults(name, 0), id, 9_000).task
    }

    #[test]
    fn what_was_read_before_a_change_does_not_undo_it() {
        let mut aside = Aside::default();
        let newer = Task { revision: 2, ..task(1) };
        assert!(aside.add(&newer) && !aside.add(&task(1)));
        aside.remove_at(&newer.id, 1);
        assert_eq!(aside.types().len(), 1);
        aside.remove_at(&newer.id, 2);
        assert!(aside.is_empty());
        assert!(!aside.add(&Task { state: TaskState::Running, ..newer.clone() }));
        assert!(!aside.add(&Task { resources: None, ..newer }));
    }

    #[test]
    fn more_than_fit_are_read_again_when_there_is_room() {
        let mut aside = Aside::default();
        for key in 0..=TASKS_MAX as i64 {
            aside.add(&task(key));
        }
        let name = task(0).id.task_type().clone();
        assert!(aside.known(&name).is_cut && aside.take_shrunk().is_empty());
        (0..=TASKS_MAX as i64 / 2).for_each(|key| aside.remove_at(&task(key).id, 1));
        assert_eq!(aside.take_shrunk(), std::slice::from_ref(&name));
        let known = aside.known(&name);
        assert!(!known.is_cut);
        assert_eq!(known.keys.values().next().unwrap().len(), TASKS_MAX / 2 - 1);
    }
}
