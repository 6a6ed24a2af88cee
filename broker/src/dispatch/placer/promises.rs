//! GPUs that tasks were asked to leave for others, until those have them.
//!
//! The orders of the hosts say whose they are, so every broker knows it as soon as it has looked,
//! and only one asks. What the orders said is kept for a while after they are gone: then the GPUs
//! are free, and the task is to find them.

use std::{collections::HashMap, time::Duration};

use asyncflow_core::{
    id::TaskId,
    placement::{Host, Promise, Waiting},
};
use tokio::time::Instant;

/// A task that was not placed so long after the last of the others has left has them no more.
const KEPT: Duration = Duration::from_secs(60);

/// By the task that is to have them.
#[derive(Default)]
pub struct Promises(HashMap<TaskId, Promised>);

struct Promised {
    worker_id: String,
    gpus: Vec<String>,
    since: Instant,
    until: Instant,
}

impl Promises {
    /// An order says so, now or still.
    pub fn make(&mut self, id: &TaskId, worker_id: &str, gpus: &[String], now: Instant) {
        let since = self.0.get(id).map_or(now, |known| known.since);
        let (worker_id, gpus) = (worker_id.to_owned(), gpus.to_vec());
        self.0.insert(id.clone(), Promised { worker_id, gpus, since, until: now + KEPT });
    }

    /// It has them, or needs them no more.
    pub fn end(&mut self, id: &TaskId) {
        self.0.remove(id);
    }

    /// Whether others were asked to make room for it.
    pub fn has(&self, id: &TaskId) -> bool {
        self.0.contains_key(id)
    }

    /// Those for tasks that wait, on hosts that are known, the oldest first.
    pub fn of(&mut self, waiting: &[Waiting], hosts: &[Host], now: Instant) -> Vec<Promise> {
        self.0.retain(|_, promised| now < promised.until);
        if self.0.is_empty() {
            return Vec::new();
        }
        let each = waiting.iter().enumerate();
        let mut found: Vec<(Instant, Promise)> = each
            .filter_map(|(task, one)| {
                let Promised { worker_id, gpus, since, .. } = self.0.get(&one.id)?;
                let host = hosts.iter().position(|host| host.worker_id == *worker_id)?;
                Some((*since, Promise { task, host, gpus: gpus.clone() }))
            })
            .collect();
        found.sort_by_key(|(since, promise)| (*since, promise.task));
        found.into_iter().map(|(_, promise)| promise).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeMap;

    use super::*;
    use crate::clock;

    #[test]
    fn it_stands_while_it_is_ordered_and_a_while_longer() {
        let id: TaskId = "train-1-0000000000001".parse().unwrap();
        let waiting = [Waiting {
            id: id.clone(),
            user: "ana".into(),
            order_time_ms: 0,
            ready_ms: 0,
            priority: 0,
            max_running_ms: 0,
            needs: Default::default(),
        }];
        let hosts = [Host::without_offer("w", "host", &BTreeMap::new())];
        let (mut promises, start) = (Promises::default(), clock::now());
        let gpus = ["GPU-1".to_owned()];
        promises.make(&id, "w", &gpus, start);
        promises.make(&id, "w", &gpus, start + KEPT);
        let later = start + KEPT + KEPT / 2;
        let found = promises.of(&waiting, &hosts, later);
        assert_eq!(found, [Promise { task: 0, host: 0, gpus: gpus.to_vec() }]);
        assert!(promises.of(&waiting, &[], later).is_empty() && promises.has(&id));
        assert!(promises.of(&[], &hosts, later).is_empty());
        assert!(promises.of(&waiting, &hosts, start + 2 * KEPT).is_empty() && !promises.has(&id));
        promises.make(&id, "w", &gpus, start);
        promises.end(&id);
        assert!(!promises.has(&id));
    }
}
