//! The hosts that were heard of lately, also those that do not wait now.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use asyncflow_core::{id::TypeName, placement::Host};
use tokio::time::Instant;

use super::{super::Types, super::Wish, super::parking::Reserved, users::Users};

/// A worker that has not asked for so long is gone, or takes no tasks: none waits for longer than a
/// minute.
const HOSTS_MAX_AGE: Duration = Duration::from_secs(120);

/// What each worker offered last, less what it got since.
#[derive(Default)]
pub struct Hosts(BTreeMap<String, Known>);

struct Known {
    host: Host,
    types: Types,
    heard: Instant,
}

impl Hosts {
    /// A worker offers something.
    pub fn heard(&mut self, wish: &Wish, now: Instant) {
        let host = Host { slots: wish.want, ..(*wish.host).clone() };
        let types = wish.types.clone();
        self.0.insert(wish.worker_id.clone(), Known { host, types, heard: now });
    }

    /// A worker is to get nothing.
    pub fn forget(&mut self, worker_id: &str) {
        self.0.remove(worker_id);
    }

    /// A worker got something, and this is left.
    pub fn took(&mut self, left: &Host) {
        if let Some(known) = self.0.get_mut(&left.worker_id) {
            known.host = Host { types: None, ..left.clone() };
        }
    }

    /// The hosts of those who wait, in their order, then the others. Of several calls of one worker
    /// the last is meant.
    pub fn with(
        &mut self,
        waiters: Vec<Reserved>,
        users: &Users,
        types: &[TypeName],
        now: Instant,
    ) -> (Vec<Host>, Vec<Reserved>) {
        self.0.retain(|_, known| now - known.heard < HOSTS_MAX_AGE);
        let mut last: HashMap<String, Reserved> = HashMap::new();
        for one in waiters {
            let worker_id = one.wish.worker_id.clone();
            if last.get(&worker_id).is_none_or(|other| other.number < one.number) {
                last.insert(worker_id, one);
            }
        }
        let mut waiters: Vec<Reserved> = last.into_values().collect();
        waiters.sort_by(|a, b| a.wish.worker_id.cmp(&b.wish.worker_id));
        let mut hosts = Vec::with_capacity(waiters.len() + self.0.len());
        for Reserved { wish, .. } in &waiters {
            let running = users.running(&wish.worker_id);
            let types = accepted(&wish.types, types);
            hosts.push(Host { slots: wish.want, running, types, ..(*wish.host).clone() });
        }
        for (worker_id, known) in &self.0 {
            if !waiters.iter().any(|one| one.wish.worker_id == *worker_id) {
                let types = accepted(&known.types, types);
                let running = users.running(worker_id);
                hosts.push(Host { slots: 0, running, types, ..known.host.clone() });
            }
        }
        (hosts, waiters)
    }

    /// All of them as they offered last, with the slots that they had for it.
    pub fn all(&mut self, types: &[TypeName], now: Instant) -> Vec<Host> {
        self.0.retain(|_, known| now - known.heard < HOSTS_MAX_AGE);
        let of =
            |known: &Known| Host { types: accepted(&known.types, types), ..known.host.clone() };
        self.0.values().map(of).collect()
    }
}

/// Those of the types at hand that are accepted.
fn accepted(by: &Types, types: &[TypeName]) -> Option<std::collections::BTreeSet<TypeName>> {
    match by {
        Types::Every => None,
        Types::These { .. } => {
            Some(types.iter().filter(|name| by.contain(name)).cloned().collect())
        }
    }
}
