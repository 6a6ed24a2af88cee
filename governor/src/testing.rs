//! What the tests of this crate stand on: a real database, tasks in it, a clock moved by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::{
    clock::manual::Hand,
    config::{DEFAULT_CONFIG, ENV_PREFIX, GovernorConfig},
    duty::{Duty, DutyContext},
    outage::Outages,
};
use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence, Settle},
    id::{TaskId, TypeName},
    task::{Content, Task},
    task_type::TaskType,
};
use asyncflow_service::config::Sources;
use asyncflow_store::{
    Create, LeaderFence, Parts, Store, StoreError, StoreOptions,
    testing::{SqliteFile, fresh_database, mariadb, postgres},
};
use std::{sync::Arc, time::Duration};

/// A lease of this length has run out before anybody can look.
pub(crate) const NO_TIME_MS: i64 = -1;
pub(crate) const LONG_MS: i64 = 600_000;
pub(crate) const SESSION: i64 = 42;

/// A database of its own, and the governor's surroundings.
pub(crate) struct Bed {
    pub store: Store,
    pub url: String,
    pub hand: Hand,
    pub outages: Outages,
    _file: Option<SqliteFile>,
}

impl Bed {
    /// On SQLite.
    pub async fn sqlite() -> Self {
        let file = SqliteFile::new();
        Self::open(file.url(), Some(file)).await
    }

    /// One on each kind of database.
    pub async fn everywhere() -> Vec<Self> {
        let (mariadb, postgres) =
            (fresh_database(mariadb()).await, fresh_database(postgres()).await);
        vec![
            Self::sqlite().await,
            Self::open(mariadb, None).await,
            Self::open(postgres, None).await,
        ]
    }

    /// On a database that is there.
    pub async fn open(url: String, file: Option<SqliteFile>) -> Self {
        let store = Store::connect(&StoreOptions::new(url.clone())).await.unwrap();
        store.migrate().await.unwrap();
        let (hand, outages) = (Hand::default(), Outages::default());
        Self { store, url, hand, outages, _file: file }
    }

    /// The defaults with heartbeats of 10 s and looks every 5 s.
    pub fn config(&self) -> GovernorConfig {
        let sources = Sources::new(DEFAULT_CONFIG, ENV_PREFIX)
            .env([])
            .flag("database.url", self.url.clone())
            .flag("listen.address", "127.0.0.1:0")
            .flag("metrics.address", "")
            .flag("lease.heartbeat_interval_ms", "10000")
            .flag("duties.reap_interval_ms", "5000")
            .flag("duties.promote_after_ms", "0");
        GovernorConfig::load(&sources).unwrap()
    }

    /// The lead, taken whoever had it.
    pub async fn lead(&self, holder: &str) -> LeaderFence {
        self.store.try_lead(holder, NO_TIME_MS).await.unwrap().expect("the lead has run out")
    }

    pub async fn run(&self, duty: &mut dyn Duty, fence: &LeaderFence) -> Result<u64, StoreError> {
        let cx = DutyContext {
            store: self.store.clone(),
            fence: fence.clone(),
            clock: self.hand.clock(),
            outages: self.outages.clone(),
        };
        duty.run(&cx).await
    }

    /// Runs a duty after `seconds` of this process's clock.
    pub async fn run_after(
        &self,
        seconds: u64,
        duty: &mut dyn Duty,
        fence: &LeaderFence,
    ) -> Result<u64, StoreError> {
        self.hand.advance(Duration::from_secs(seconds));
        self.run(duty, fence).await
    }

    pub async fn new_task(&self, task_type: &str, not_before_ms: Option<i64>) -> TaskId {
        let name = TypeName::new(task_type).unwrap();
        let mut of_type = self.store.ensure_type(&name).await.unwrap();
        of_type.max_crashes = 1;
        of_type.retry.interval_ms = 1;
        let new = NewTask { not_before_ms, ..NewTask::new(name, "ana") };
        let inserted = self.store.insert(vec![Create { new, task_type: Arc::new(of_type) }]).await;
        inserted.into_iter().next().unwrap().unwrap().task.id
    }

    pub async fn task(&self, id: &TaskId) -> Option<Task> {
        self.store.get(id, Parts::NONE).await.ok().map(|full| full.task)
    }

    pub async fn apply(&self, id: &TaskId, event: Event) -> Task {
        let applied = self.store.apply(vec![(id.clone(), event)]).await.pop().unwrap();
        applied.unwrap().task
    }

    /// Hands a task out to a worker.
    pub async fn claim(&self, id: &TaskId, handout_ttl_ms: i64) -> Fence {
        let worker_id = "w1".to_owned();
        let task =
            self.apply(id, Event::Claim { worker_id, session_id: SESSION, handout_ttl_ms }).await;
        Fence { attempt: task.attempt, session_id: SESSION }
    }

    /// Hands it out and starts it, with a lease that is `lease_ttl_ms` long.
    pub async fn start(&self, id: &TaskId, lease_ttl_ms: i64) -> Fence {
        let fence = self.claim(id, LONG_MS).await;
        self.apply(id, Event::Start { fence, lease_ttl_ms }).await;
        fence
    }

    pub async fn beat(&self, id: &TaskId, fence: Fence) {
        self.apply(id, Event::Heartbeat { fence, lease_ttl_ms: NO_TIME_MS }).await;
    }

    pub async fn complete(&self, id: &TaskId) {
        self.complete_with(id, None).await;
    }

    pub async fn complete_with(&self, id: &TaskId, result: Option<&'static str>) {
        let fence = self.start(id, LONG_MS).await;
        let result =
            result.map(|text| Content { data: text.into(), content_type: "text/plain".to_owned() });
        let settle = Settle::complete(result);
        self.apply(id, Event::Settle { fence, settle, digest: 1, exit_code: None, usage: None })
            .await;
    }

    /// Closes the open shard of a type.
    pub async fn roll(&self, task_type: &str, fence: &LeaderFence) {
        let name = TypeName::new(task_type).unwrap();
        self.store.roll_shard(&name, Some(fence)).await.unwrap();
    }

    pub async fn set_type(&self, name: &str, change: impl FnOnce(&mut TaskType)) {
        let name = TypeName::new(name).unwrap();
        self.store.ensure_type(&name).await.unwrap();
        self.store.update_type(&name, None, change).await.unwrap();
    }
}
