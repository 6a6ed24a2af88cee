//! Wake-ups: whoever waits is told that there may be something to do.
//!
//! A wake-up carries nothing and may be lost, doubled or late; whoever waits looks into the
//! database and has a slow poll as safety net. In this process they always work; through Redis, or
//! on PostgreSQL by its own means, they also reach the other processes.

mod bridge;
mod memory;
mod postgres;
mod redis;

use bridge::Bridge;
use memory::Topics;
pub use memory::WakeReceiver;
use postgres::PostgresCarrier;
use redis::RedisCarrier;

use crate::{backend::Backend, error::StoreError, options::StoreOptions};

/// Rung by the store after every transaction that wrote to the change log.
pub const CHANGES: &str = "changes";

/// Rung by the store when an operation began, ended, or was given back.
pub const OPERATIONS: &str = "operations";

/// Rung by the store when tasks of a type became PENDING or SCHEDULED.
pub fn type_topic(task_type: &str) -> String {
    format!("type:{task_type}")
}

/// Rung by the store when a session has to stop a task.
pub fn commands_topic(session_id: i64) -> String {
    format!("commands:{session_id}")
}

/// Rung by the store when something else is wanted of a worker's host.
pub fn host_topic(worker_id: &str) -> String {
    format!("host:{worker_id}")
}

/// Rings topics and hears them. Cheap to clone.
#[derive(Clone)]
pub struct Wake {
    topics: Topics,
    bridge: Option<Bridge>,
}

impl Wake {
    /// Needs a Tokio runtime when there is something to carry them. Redis may be down.
    pub(crate) fn new(options: &StoreOptions, backend: Backend) -> Result<Self, StoreError> {
        let topics = Topics::default();
        let bridge = match (&options.redis_url, backend) {
            (Some(url), _) => {
                let carrier = RedisCarrier::new(url, &options.redis_prefix)?;
                Some(Bridge::start(carrier, topics.clone()))
            }
            (None, Backend::Postgres) => {
                Some(Bridge::start(PostgresCarrier::new(&options.url), topics.clone()))
            }
            (None, Backend::Sqlite | Backend::Mysql) => None,
        };
        Ok(Self { topics, bridge })
    }

    /// Rings topics, here at once and elsewhere soon. Never blocks.
    pub fn ring<T: AsRef<str>>(&self, topics: impl IntoIterator<Item = T>) {
        for topic in topics {
            self.topics.ring(topic.as_ref());
            if let Some(bridge) = &self.bridge {
                bridge.ring(topic.as_ref());
            }
        }
    }

    /// Hears a topic from now on. Several rings between two looks are one.
    pub fn subscribe(&self, topic: &str) -> WakeReceiver {
        self.topics.subscribe(topic)
    }

    /// Whether wake-ups reach other processes now; `None` when that is not configured.
    pub fn is_connected(&self) -> Option<bool> {
        self.bridge.as_ref().map(Bridge::is_connected)
    }

    pub(crate) async fn close(&self) {
        if let Some(bridge) = &self.bridge {
            bridge.close().await;
        }
    }
}
