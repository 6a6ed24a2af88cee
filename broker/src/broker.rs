//! What the verbs of both services share.

use asyncflow_core::{id::TypeName, task_type::TaskType};
use asyncflow_store::{LeftOvers, Store};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::BrokerConfig, dispatch::Dispatch, error::RpcError, feed::Feed, ingest::Ingest,
    lookups::Lookups, operations, presence, session::Sessions, settle::Settle, touch::Touches,
};

/// A running broker, without its server.
pub struct Broker {
    pub config: BrokerConfig,
    pub store: Store,
    pub dispatch: Dispatch,
    pub ingest: Ingest,
    pub settle: Settle,
    pub touches: Touches,
    pub sessions: Sessions,
    pub feed: Feed,
    pub lookups: Lookups,
    /// Cancelled when long polls are to be answered and streams are to end.
    pub draining: CancellationToken,
    tracker: TaskTracker,
}

/// Does what is left to be done for workflows, beside those who end their parts.
async fn carry_out(mut left: LeftOvers, dispatch: Dispatch, draining: CancellationToken) {
    while let Some(Some(made)) = draining.run_until_cancelled(left.next()).await {
        dispatch.note(made.iter());
    }
}

impl Broker {
    /// Starts the group-commit points; [`stop`](Self::stop) ends what it started.
    pub fn start(config: BrokerConfig, store: Store, draining: CancellationToken) -> Self {
        let tracker = TaskTracker::new();
        let dispatch = Dispatch::new(store.clone(), &config, tracker.clone(), draining.clone());
        let ingest = Ingest::start(store.clone(), dispatch.clone(), &config.limits, &tracker);
        let settle = Settle::start(store.clone(), dispatch.clone(), &config.limits, &tracker);
        let touches = Touches::start(store.clone(), &config.limits, &tracker);
        let feed = Feed::new(
            store.clone(),
            config.limits.watch_lag_max,
            tracker.clone(),
            draining.clone(),
        );
        if let Some(left) = store.take_left_overs() {
            tracker.spawn(carry_out(left, dispatch.clone(), draining.clone()));
        }
        let name = format!("{} (process {})", config.listen.address, std::process::id());
        let carry = operations::carry_out(store.clone(), dispatch.clone(), name, draining.clone());
        tracker.spawn(carry);
        let heartbeat = config.heartbeat_interval();
        tracker.spawn(presence::beat(store.clone(), heartbeat, draining.clone()));
        let lookups = Lookups::default();
        let sessions = Sessions::new(store.clone(), dispatch.command_types());
        Self {
            config,
            store,
            dispatch,
            ingest,
            settle,
            touches,
            sessions,
            feed,
            lookups,
            draining,
            tracker,
        }
    }

    /// Runs the producer of a stream; it must end when `draining` is cancelled.
    pub fn spawn(&self, producer: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(producer);
    }

    /// Writes what waits and joins every task. The server must have ended.
    pub async fn stop(&self) {
        self.draining.cancel();
        self.ingest.close();
        self.settle.close();
        self.touches.close();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// The type of tasks that are to be created, some of them with a command or none. An unknown
    /// one is registered where that is configured, but nothing is changed by a call that only
    /// checks.
    ///
    /// # Errors
    /// `UnknownType`; those of the store.
    pub async fn task_type_for_create(
        &self,
        name: &TypeName,
        with_command: bool,
        only_check: bool,
    ) -> Result<TaskType, RpcError> {
        let mut task_type = self.known_or_new_type(name, only_check).await?;
        if with_command && !task_type.has_commands && !only_check {
            self.store.note_commands(name).await?;
            task_type.has_commands = true;
        }
        self.dispatch.see_type(&task_type);
        Ok(task_type)
    }

    async fn known_or_new_type(
        &self,
        name: &TypeName,
        only_check: bool,
    ) -> Result<TaskType, RpcError> {
        if let Some(task_type) = self.store.get_type(name).await? {
            return Ok(task_type);
        }
        if !self.config.auto_create_task_types {
            return Err(RpcError::UnknownType(name.clone()));
        }
        if only_check {
            return Ok(TaskType::with_defaults(name.clone(), self.store.now_ms().await?));
        }
        Ok(self.store.ensure_type(name).await?)
    }
}
