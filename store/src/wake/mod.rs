//! Wake-ups: whoever waits is told that there may be something to do.
//!
//! A wake-up carries nothing and may be lost, doubled or late; whoever waits looks into the
//! database and has a slow poll as safety net. In this process they always work; through Redis they
//! also reach the other processes.

mod memory;
mod redis;

use memory::Topics;
pub use memory::WakeReceiver;

use crate::{error::StoreError, options::StoreOptions};

/// Rung by the store after every transaction that wrote to the change log.
pub const CHANGES: &str = "changes";

/// Rung by the store when tasks of a type became PENDING or SCHEDULED.
pub fn type_topic(task_type: &str) -> String {
    format!("type:{task_type}")
}

/// Rung by the store when a session has to stop a task.
pub fn commands_topic(session_id: i64) -> String {
    format!("commands:{session_id}")
}

/// Rings topics and hears them. Cheap to clone.
#[derive(Clone)]
pub struct Wake {
    topics: Topics,
    redis: Option<redis::Bridge>,
}

impl Wake {
    /// Needs a Tokio runtime when Redis is configured. Redis may be down.
    pub(crate) fn new(options: &StoreOptions) -> Result<Self, StoreError> {
        let topics = Topics::default();
        let redis = match &options.redis_url {
            Some(url) => Some(redis::Bridge::start(url, &options.redis_prefix, topics.clone())?),
            None => None,
        };
        Ok(Self { topics, redis })
    }

    /// Rings topics, here at once and elsewhere soon. Never blocks.
    pub fn ring<T: AsRef<str>>(&self, topics: impl IntoIterator<Item = T>) {
        for topic in topics {
            self.topics.ring(topic.as_ref());
            if let Some(redis) = &self.redis {
                redis.ring(topic.as_ref());
            }
        }
    }

    /// Hears a topic from now on. Several rings between two looks are one.
    pub fn subscribe(&self, topic: &str) -> WakeReceiver {
        self.topics.subscribe(topic)
    }

    /// Whether wake-ups reach other processes now; `None` when that is not configured.
    pub fn is_connected(&self) -> Option<bool> {
        self.redis.as_ref().map(redis::Bridge::is_connected)
    }

    pub(crate) async fn close(&self) {
        if let Some(redis) = &self.redis {
            redis.close().await;
        }
    }
}
