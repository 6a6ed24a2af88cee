//! GPUs that tasks were asked to leave for others, until those have them.
//!
//! The orders of the hosts say whose they are, also for a while after those who were asked have
//! left, so only one broker asks. Where there may be others, a broker reads them before it places
//! anything on these hosts: who has made room might else get it back from one that does not know.

use std::{collections::HashMap, time::Duration};

use asyncflow_core::{
    id::TaskId,
    placement::{Host, Promise, Waiting},
};
use asyncflow_store::{HostOrder, StoreError};
use tokio::time::Instant;

use super::{super::parking::Reserved, Dispatch};
use crate::{clock, orders};

/// A task that was not placed so long after the last of the others has left has them no more.
const KEPT: Duration = Duration::from_millis(orders::ROOM_MS.unsigned_abs());
/// So long it is believed what an order says that may be about one who has left: it is read again
/// before the next plan.
const READ_KEPT: Duration = Duration::from_secs(5);

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
        self.keep(id, worker_id, gpus, (now, now + KEPT));
    }

    /// The orders of a host, as they were read.
    pub fn read(&mut self, worker_id: &str, orders: &[HostOrder], now: Instant) {
        for order in orders.iter().filter_map(orders::room) {
            if let Ok(id) = order.for_task_id.parse() {
                self.keep(&id, worker_id, &order.for_gpus, (now, now + READ_KEPT));
            }
        }
    }

    fn keep(
        &mut self,
        id: &TaskId,
        worker_id: &str,
        gpus: &[String],
        (now, until): (Instant, Instant),
    ) {
        let known = self.0.get(id);
        let since = known.map_or(now, |known| known.since);
        let until = known.map_or(until, |known| known.until.max(until));
        let (worker_id, gpus) = (worker_id.to_owned(), gpus.to_vec());
        self.0.insert(id.clone(), Promised { worker_id, gpus, since, until });
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

impl Dispatch {
    /// Learns what other brokers have promised of the hosts of those who wait.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn read_promises(&self, waiters: &[Reserved]) -> Result<(), StoreError> {
        if !self.shared.settings.shared_database || self.shared.settings.preempt_after_ms <= 0 {
            return Ok(());
        }
        let ids: Vec<String> = waiters.iter().map(|one| one.wish.worker_id.clone()).collect();
        let found = self.shared.store.list_orders(&ids).await?;
        let (mut state, now) = (self.shared.placer.lock(), clock::now());
        found.iter().for_each(|(id, orders)| state.promises.read(id, orders, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeMap;

    use super::*;

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
