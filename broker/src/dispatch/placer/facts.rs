//! What plans are made from.

use std::collections::BTreeMap;

use asyncflow_core::{
    explain::Held,
    id::TypeName,
    placement::{self, Hold, Host, Promise, Scene, Standing, Waiting},
};
use asyncflow_store::StoreError;

use super::{Dispatch, State};
use crate::clock;

/// A scene that may be carried to another thread.
pub(super) struct Facts {
    pub now_ms: i64,
    pub hosts: Vec<Host>,
    pub waiting: Vec<Waiting>,
    /// Of the waiting tasks, as they were read.
    pub revisions: Vec<i64>,
    pub users: BTreeMap<String, Standing>,
    pub hold_after_ms: i64,
    pub promises: Vec<Promise>,
}

impl Facts {
    /// What is remembered of the tasks of these types, for these hosts.
    pub fn of(
        state: &mut State,
        types: &[TypeName],
        hosts: Vec<Host>,
        now_ms: i64,
        hold_after_ms: i64,
    ) -> Self {
        let now = clock::now();
        let State { aside, users, promises, .. } = state;
        let entries = types.iter().flat_map(|name| aside.of_type(name));
        let (waiting, revisions): (Vec<_>, Vec<_>) =
            entries.map(|entry| (entry.waiting.clone(), entry.revision)).unzip();
        Self {
            now_ms,
            promises: promises.of(&waiting, &hosts, now),
            users: users.standings(now),
            hosts,
            waiting,
            revisions,
            hold_after_ms,
        }
    }

    pub fn scene(&self) -> Scene<'_> {
        Scene {
            now_ms: self.now_ms,
            hosts: &self.hosts,
            waiting: &self.waiting,
            users: &self.users,
            hold_after_ms: self.hold_after_ms,
            promises: &self.promises,
        }
    }
}

/// Thousands of tasks take a while: not on a thread that serves.
///
/// # Errors
/// When the thread was lost.
pub(super) async fn apart<T: Send + 'static>(
    plan: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(plan)
        .await
        .map_err(|error| StoreError::Corrupt(format!("a plan was lost: {error}")))
}

impl Dispatch {
    /// The types of which tasks wait to be placed, but for those that are paused: nothing is to be
    /// placed, kept or freed for those.
    pub(super) async fn open_types(&self) -> Result<Vec<TypeName>, StoreError> {
        let mut open = self.shared.placer.lock().aside.types();
        let mut at = 0;
        while let Some(name) = open.get(at) {
            let task_type = self.shared.store.get_type(name).await?;
            if task_type.is_some_and(|task_type| !task_type.paused) {
                at += 1;
            } else {
                open.swap_remove(at);
            }
        }
        Ok(open)
    }

    /// All that waits, and all hosts as they offered last.
    pub(super) async fn facts(&self) -> Result<Facts, StoreError> {
        let types = self.open_types().await?;
        let now_ms = self.shared.store.now_ms().await?;
        let mut state = self.shared.placer.lock();
        let hosts = state.hosts.all(&types, clock::now());
        Ok(Facts::of(&mut state, &types, hosts, now_ms, self.shared.settings.hold_after_ms))
    }

    /// GPUs that are kept for tasks, as far as this broker knows.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn holds(&self) -> Result<Vec<Held>, StoreError> {
        let facts = self.facts().await?;
        let plan = move || {
            let held = |hold: Hold| Held {
                task_id: facts.waiting[hold.task].id.clone(),
                user: facts.waiting[hold.task].user.clone(),
                worker_id: facts.hosts[hold.host].worker_id.clone(),
                gpus: hold.gpus,
                start_ms: hold.start_ms,
            };
            placement::place(&facts.scene()).holds.into_iter().map(held).collect()
        };
        apart(plan).await
    }
}
