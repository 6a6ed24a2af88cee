//! Whose turn it is: the user's who has the fewest GPUs now, then who had the least lately, then
//! whose task stands first.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use super::{Scene, Standing};

/// The waiting tasks, each user's in the order of the queue.
pub(super) struct Queue<'a> {
    users: BTreeMap<&'a str, (Standing, VecDeque<usize>)>,
    turns: BTreeSet<Turn<'a>>,
    order: Vec<(i64, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Turn<'a> {
    standing: Standing,
    /// Of the user's first task.
    order: (i64, i64),
    user: &'a str,
}

impl Ord for Turn<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.standing.gpu_millis.cmp(&other.standing.gpu_millis))
            .then_with(|| self.standing.usage.total_cmp(&other.standing.usage))
            .then_with(|| (self.order, self.user).cmp(&(other.order, other.user)))
    }
}

impl PartialOrd for Turn<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn<'_> {}

impl<'a> Queue<'a> {
    pub fn new(scene: &Scene<'a>) -> Self {
        let key = |task: &super::Waiting| (task.order_time_ms, task.id.key);
        let order: Vec<_> = scene.waiting.iter().map(key).collect();
        let mut sorted: Vec<usize> = (0..order.len()).collect();
        sorted.sort_unstable_by_key(|task| (order[*task], &scene.waiting[*task].id));
        let mut users: BTreeMap<&str, (Standing, VecDeque<usize>)> = BTreeMap::new();
        for task in sorted {
            let user = scene.waiting[task].user.as_str();
            let standing = || scene.users.get(user).copied().unwrap_or_default();
            let entry = users.entry(user).or_insert_with(|| (standing(), VecDeque::new()));
            entry.1.push_back(task);
        }
        let mut queue = Self { users, turns: BTreeSet::new(), order };
        let names: Vec<&str> = queue.users.keys().copied().collect();
        names.into_iter().for_each(|user| queue.enqueue(user));
        queue
    }

    fn turn(&self, user: &'a str) -> Option<Turn<'a>> {
        let (standing, tasks) = self.users.get(user)?;
        Some(Turn { standing: *standing, order: self.order[*tasks.front()?], user })
    }

    fn enqueue(&mut self, user: &'a str) {
        self.turns.extend(self.turn(user));
    }

    fn dequeue(&mut self, user: &'a str) {
        if let Some(turn) = self.turn(user) {
            self.turns.remove(&turn);
        }
    }

    /// The next task, which is in the queue no more.
    pub fn next(&mut self) -> Option<usize> {
        let user = self.turns.pop_first()?.user;
        let task = self.users.get_mut(user)?.1.pop_front();
        self.enqueue(user);
        task
    }

    /// Takes a task out of its turn.
    pub fn remove(&mut self, user: &'a str, task: usize) {
        self.dequeue(user);
        if let Some((_, tasks)) = self.users.get_mut(user) {
            tasks.retain(|other| *other != task);
        }
        self.enqueue(user);
    }

    /// The user has so much more.
    pub fn charge(&mut self, user: &'a str, gpu_millis: i64) {
        self.dequeue(user);
        if let Some((standing, _)) = self.users.get_mut(user) {
            standing.gpu_millis = standing.gpu_millis.saturating_add(gpu_millis);
        }
        self.enqueue(user);
    }
}
