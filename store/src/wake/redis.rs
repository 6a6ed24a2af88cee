//! Carries wake-ups to and from other processes by one Redis channel.
//!
//! A message is the sender's id and topics, one per line. While Redis is away rings are dropped;
//! after every reconnection everything is rung once, because some were missed.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_redis::redis;
use futures::StreamExt;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::memory::Topics;
use crate::error::StoreError;

/// Rings that wait to be sent; more are dropped.
const QUEUE_MAX: usize = 1_024;
const CALL_TIMEOUT: Duration = Duration::from_millis(500);
/// Between two attempts to reconnect.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub(super) struct Bridge(Arc<Inner>);

struct Inner {
    queue: mpsc::Sender<String>,
    connected: Arc<AtomicBool>,
    stop: CancellationToken,
    tasks: Mutex<Option<JoinSet<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Clone)]
struct Link {
    client: redis::Client,
    channel: String,
    sender: String,
    topics: Topics,
    connected: Arc<AtomicBool>,
}

impl Bridge {
    pub fn start(url: &str, prefix: &str, topics: Topics) -> Result<Self, StoreError> {
        let client = redis::Client::open(url)
            .map_err(|error| StoreError::Options(format!("the Redis address: {error}")))?;
        let connected = Arc::new(AtomicBool::new(false));
        let link = Link {
            client,
            channel: format!("{prefix}:wake"),
            sender: format!("{:016x}", rand::random::<u64>()),
            topics,
            connected: connected.clone(),
        };
        let (queue, rings) = mpsc::channel(QUEUE_MAX);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (hear, send, stopped) = (link.clone(), link, stop.clone());
        tasks.spawn(async move {
            stopped.run_until_cancelled(hear.hear()).await;
        });
        let stopped = stop.clone();
        tasks.spawn(async move {
            stopped.run_until_cancelled(send.send(rings)).await;
        });
        Ok(Self(Arc::new(Inner { queue, connected, stop, tasks: Mutex::new(Some(tasks)) })))
    }

    pub fn ring(&self, topic: &str) {
        // A full queue means that Redis is away or slow; the slow poll finds what this would tell.
        let _ = self.0.queue.try_send(topic.to_owned());
    }

    pub fn is_connected(&self) -> bool {
        self.0.connected.load(Ordering::Relaxed)
    }

    pub async fn close(&self) {
        self.0.stop.cancel();
        let tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tasks) = tasks {
            tasks.join_all().await;
        }
    }
}

impl Link {
    /// Subscribes, again and again; never returns.
    async fn hear(self) {
        loop {
            if let Err(error) = self.hear_once().await {
                tracing::debug!(%error, "the wake-up channel is away");
            }
            self.connected.store(false, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn hear_once(&self) -> redis::RedisResult<()> {
        let subscribe = async {
            let mut channel = self.client.get_async_pubsub().await?;
            channel.subscribe(&self.channel).await?;
            redis::RedisResult::Ok(channel)
        };
        let Ok(channel) = tokio::time::timeout(CALL_TIMEOUT, subscribe).await else {
            return Ok(());
        };
        let mut messages = channel?.into_on_message();
        self.connected.store(true, Ordering::Relaxed);
        self.topics.ring_all();
        while let Some(message) = messages.next().await {
            let text: String = message.get_payload()?;
            let mut lines = text.lines();
            if lines.next() != Some(&self.sender) {
                lines.for_each(|topic| self.topics.ring(topic));
            }
        }
        Ok(())
    }

    /// Publishes what is in the queue, everything that is there in one message.
    async fn send(self, mut rings: mpsc::Receiver<String>) {
        let mut connection = None;
        while let Some(first) = rings.recv().await {
            let mut topics = vec![first];
            while let Ok(topic) = rings.try_recv() {
                if !topics.contains(&topic) {
                    topics.push(topic);
                }
            }
            let message = format!("{}\n{}", self.sender, topics.join("\n"));
            let publish = self.publish(&mut connection, &message);
            if !matches!(tokio::time::timeout(CALL_TIMEOUT, publish).await, Ok(Ok(()))) {
                connection = None;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn publish(
        &self,
        connection: &mut Option<redis::aio::MultiplexedConnection>,
        message: &str,
    ) -> redis::RedisResult<()> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(self.client.get_multiplexed_async_connection().await?),
        };
        redis::cmd("PUBLISH").arg(&self.channel).arg(message).exec_async(connection).await
    }
}
