//! Wake-ups inside this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// Topics that nobody hears any more are swept out when so many have been made since.
const SWEEP_EVERY: usize = 256;

#[derive(Clone, Default)]
pub(super) struct Topics(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    topics: HashMap<String, watch::Sender<u64>>,
    made: usize,
}

/// Hears one topic.
#[derive(Debug)]
pub struct WakeReceiver(watch::Receiver<u64>);

impl Topics {
    pub fn ring(&self, topic: &str) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = state.topics.get(topic) {
            sender.send_modify(|rings| *rings += 1);
        }
    }

    /// Rings everything: wake-ups may have been missed.
    pub fn ring_all(&self) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.topics.values().for_each(|sender| sender.send_modify(|rings| *rings += 1));
    }

    pub fn subscribe(&self, topic: &str) -> WakeReceiver {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.made += 1;
        if state.made.is_multiple_of(SWEEP_EVERY) {
            state.topics.retain(|_, sender| sender.receiver_count() > 0);
        }
        let sender = state.topics.entry(topic.to_owned()).or_insert_with(|| watch::channel(0).0);
        WakeReceiver(sender.subscribe())
    }
}

impl WakeReceiver {
    /// Waits until the topic was rung since the last look. Cancel safe: a ring is not lost. When
    /// the store is closed it never returns.
    pub async fn rung(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Whether the topic was rung since the last look; takes the ring.
    pub fn take_rung(&mut self) -> bool {
        let rung = self.0.has_changed().unwrap_or(false);
        if rung {
            self.0.mark_unchanged();
        }
        rung
    }
}
