//! Wake-ups by one Redis channel.

use std::sync::Arc;

use deadpool_redis::redis;
use futures::StreamExt;

use super::bridge::{CALL_TIMEOUT, Carrier, Ears};
use crate::error::{Cause, StoreError, TimedOut};

#[derive(Clone)]
pub(super) struct RedisCarrier {
    client: redis::Client,
    channel: String,
}

impl RedisCarrier {
    pub fn new(url: &str, prefix: &str) -> Result<Self, StoreError> {
        let client = redis::Client::open(url)
            .map_err(|error| StoreError::Options(format!("the Redis address: {error}")))?;
        Ok(Self { client, channel: format!("{prefix}:wake") })
    }
}

impl Carrier for RedisCarrier {
    type Connection = redis::aio::MultiplexedConnection;

    const MESSAGE_BYTES_MAX: usize = 1 << 20;
    const HAS_A_PULSE: bool = true;

    async fn hear(&self, ears: &Ears) -> Result<(), Cause> {
        let subscribe = async {
            let mut channel = self.client.get_async_pubsub().await?;
            channel.subscribe(&self.channel).await?;
            redis::RedisResult::Ok(channel)
        };
        let channel = tokio::time::timeout(CALL_TIMEOUT, subscribe).await;
        let channel = channel.map_err(|_| cause(TimedOut))?.map_err(cause)?;
        let mut messages = channel.into_on_message();
        ears.connected();
        while let Some(message) = messages.next().await {
            ears.heard(&message.get_payload::<String>().map_err(cause)?);
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Self::Connection, Cause> {
        self.client.get_multiplexed_async_connection().await.map_err(cause)
    }

    async fn send(&self, connection: &mut Self::Connection, message: &str) -> Result<(), Cause> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&self.channel).arg(message).exec_async(connection).await.map_err(cause)
    }
}

fn cause(error: impl std::error::Error + Send + Sync + 'static) -> Cause {
    Arc::new(error)
}
