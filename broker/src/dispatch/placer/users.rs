//! Who has how many GPUs, and had lately, as far as this broker has placed them.

use std::collections::{BTreeMap, HashMap};

use asyncflow_core::{id::TaskId, placement::Standing, task::Task};
use tokio::time::Instant;

/// What somebody had counts half after so long.
const HALF_LIFE_SECONDS: f64 = 24.0 * 3_600.0;

/// A task that was placed, until it has ended.
#[derive(Clone, Debug)]
struct Has {
    user: String,
    worker_id: String,
    attempt: i32,
    gpu_millis: i64,
    since: Instant,
}

/// What all users have.
#[derive(Default)]
pub struct Users {
    has: HashMap<TaskId, Has>,
    /// GPU-seconds, as of the moment beside them.
    had: BTreeMap<String, (f64, Instant)>,
    /// What hosts reported last, also of what other brokers have placed: user and GPUs.
    reported: HashMap<TaskId, (String, i64)>,
    /// GPU-seconds that are on record.
    on_record: BTreeMap<String, f64>,
}

impl Users {
    /// A task was placed.
    pub fn begin(&mut self, task: &Task, worker_id: &str, gpu_millis: i64, now: Instant) {
        let has = Has {
            user: task.user.clone(),
            worker_id: worker_id.to_owned(),
            attempt: task.attempt,
            gpu_millis,
            since: now,
        };
        self.has.insert(task.id.clone(), has);
    }

    /// What hosts report, and what is on record.
    pub fn reported(&mut self, has: Vec<(TaskId, String, i64)>, had: BTreeMap<String, f64>) {
        let of = |(id, user, gpu_millis)| (id, (user, gpu_millis));
        self.reported = has.into_iter().map(of).collect();
        self.on_record = had;
    }

    /// The task as it is now; one that does not run in that attempt any more has nothing.
    pub fn note(&mut self, task: &Task, now: Instant) {
        if !task.state.is_leased() {
            self.reported.remove(&task.id);
        }
        let ended = |has: &Has| task.attempt != has.attempt || !task.state.is_leased();
        if self.has.get(&task.id).is_some_and(ended) {
            self.end(&task.id, now);
        }
    }

    /// The task has nothing any more.
    pub fn end(&mut self, id: &TaskId, now: Instant) {
        let Some(has) = self.has.remove(id) else { return };
        let seconds = (now - has.since).as_secs_f64() * has.gpu_millis as f64 / 1_000.0;
        let had = self.had.entry(has.user).or_insert((0.0, now));
        *had = (decayed(*had, now) + seconds, now);
    }

    /// Whether no task has anything.
    pub fn has_nothing(&self) -> bool {
        self.has.is_empty()
    }

    /// The tasks that have something.
    pub fn tasks(&self) -> Vec<TaskId> {
        self.has.keys().cloned().collect()
    }

    /// How many of them run on a host.
    pub fn running(&self, worker_id: &str) -> u32 {
        let there = self.has.values().filter(|has| has.worker_id == worker_id);
        u32::try_from(there.count()).unwrap_or(u32::MAX)
    }

    /// How everybody stands.
    pub fn standings(&self, now: Instant) -> BTreeMap<String, Standing> {
        let mut standings: BTreeMap<String, Standing> = BTreeMap::new();
        for (user, had) in &self.had {
            standings.entry(user.clone()).or_default().usage = decayed(*had, now);
        }
        for (user, seconds) in &self.on_record {
            let standing = standings.entry(user.clone()).or_default();
            // It has what is known here too.
            standing.usage = standing.usage.max(*seconds);
        }
        for (_, (user, gpu_millis)) in
            self.reported.iter().filter(|(id, _)| !self.has.contains_key(id))
        {
            standings.entry(user.clone()).or_default().gpu_millis += gpu_millis;
        }
        for has in self.has.values() {
            let standing = standings.entry(has.user.clone()).or_default();
            standing.gpu_millis += has.gpu_millis;
            let seconds = (now - has.since).as_secs_f64();
            standing.usage += seconds * has.gpu_millis as f64 / 1_000.0;
        }
        standings
    }
}

fn decayed((had, then): (f64, Instant), now: Instant) -> f64 {
    had * 0.5_f64.powf((now - then).as_secs_f64() / HALF_LIFE_SECONDS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use asyncflow_core::{create::NewTask, state::TaskState, task_type::TaskType};

    use super::*;
    use crate::clock;

    #[test]
    fn what_somebody_has_becomes_what_he_had_and_fades() {
        let name: asyncflow_core::id::TypeName = "train".parse().unwrap();
        let id = "train-1-0000000000001".parse().unwrap();
        let new = NewTask::new(name.clone(), "ana");
        let mut task = new.into_task(&TaskType::with_defaults(name, 0), id, 0).task;
        (task.state, task.attempt) = (TaskState::Running, 1);
        let (mut users, start) = (Users::default(), clock::now());
        users.begin(&task, "w", 2_000, start);
        assert_eq!(users.running("w"), 1);
        let later = start + Duration::from_secs(10);
        users.note(&task, later);
        let standing = users.standings(later)["ana"];
        assert_eq!((standing.gpu_millis, standing.usage), (2_000, 20.0));
        task.state = TaskState::Pending;
        users.note(&task, later);
        let day_later = later + Duration::from_secs(24 * 3_600);
        let standing = users.standings(day_later)["ana"];
        assert_eq!((standing.gpu_millis, standing.usage), (0, 10.0));
        assert_eq!(users.running("w"), 0);
    }

    #[test]
    fn what_hosts_report_counts_until_they_report_something_else() {
        let (mut users, now) = (Users::default(), clock::now());
        let id: TaskId = "train-1-0000000000001".parse().unwrap();
        let had = BTreeMap::from([("ana".to_owned(), 7.0)]);
        users.reported(vec![(id, "ana".into(), 500)], had);
        let standing = users.standings(now)["ana"];
        assert_eq!((standing.gpu_millis, standing.usage), (500, 7.0));
        users.reported(Vec::new(), BTreeMap::new());
        assert!(users.standings(now).is_empty());
    }
}
