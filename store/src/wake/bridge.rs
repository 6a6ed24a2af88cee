//! Carries wake-ups to and from other processes.
//!
//! ```text
//!   ring ─▶ queue ─▶ send: all that waits in one message ─▶ carrier ─▶ hear ─▶ topics elsewhere
//! ```
//!
//! A message is the sender's id and topics, one per line. While the carrier is away rings are
//! dropped; after every reconnection everything is rung once, because some were missed.
//!
//! Where the carrier is not the database itself, whoever has nothing to tell sends an empty message
//! every second, and hears it itself: a carrier that is silent for long is away, although its
//! connections stand.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::memory::Topics;
use crate::error::Cause;

/// Rings that wait to be sent; more are dropped.
const QUEUE_MAX: usize = 1_024;
/// Between two attempts to reconnect, on average.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a carrier may take to connect, or to take a message.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(500);

/// How long nothing is sent.
const PULSE: Duration = Duration::from_secs(1);
/// How long nothing may be heard, not even one's own pulse.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Between two attempts where connections stand and nothing is ever heard.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What messages go through. It returns from both only with an error, or when it was cut off.
pub(super) trait Carrier: Clone + Send + Sync + 'static {
    /// A connection to send by.
    type Connection: Send;

    /// Most bytes of a message.
    const MESSAGE_BYTES_MAX: usize;

    /// Whether it may be silent while the database is well.
    const HAS_A_PULSE: bool;

    /// Hears messages for as long as the connection lasts.
    fn hear(&self, ears: &Ears) -> impl Future<Output = Result<(), Cause>> + Send;

    /// Connects for sending.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Cause>> + Send;

    /// Sends a message to all who hear, this process too.
    fn send(
        &self,
        connection: &mut Self::Connection,
        message: &str,
    ) -> impl Future<Output = Result<(), Cause>> + Send;
}

/// Where messages from elsewhere go.
#[derive(Clone)]
pub(super) struct Ears {
    topics: Topics,
    sender: String,
    connected: Arc<AtomicBool>,
    heard: Arc<Notify>,
    /// Whether a message has come by this connection.
    has_heard: Arc<AtomicBool>,
}

impl Ears {
    /// From now on messages are heard.
    pub fn connected(&self) {
        self.heard.notify_one();
        self.connected.store(true, Ordering::Relaxed);
        self.topics.ring_all();
    }

    /// Rings what the message says, unless we sent it.
    pub fn heard(&self, message: &str) {
        self.heard.notify_one();
        self.has_heard.store(true, Ordering::Relaxed);
        let mut lines = message.lines();
        if lines.next() != Some(&self.sender) {
            lines.for_each(|topic| self.topics.ring(topic));
        }
    }

    /// Returns when nothing was heard for long.
    async fn silence(&self) {
        while tokio::time::timeout(SILENCE_MAX, self.heard.notified()).await.is_ok() {}
    }
}

/// A running carrier.
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

impl Bridge {
    /// Needs a Tokio runtime.
    pub fn start(carrier: impl Carrier, topics: Topics) -> Self {
        let connected = Arc::new(AtomicBool::new(false));
        let sender = format!("{:016x}", rand::random::<u64>());
        let heard = Arc::new(Notify::new());
        let has_heard = Arc::default();
        let ears =
            Ears { topics, sender: sender.clone(), connected: connected.clone(), heard, has_heard };
        let (queue, rings) = mpsc::channel(QUEUE_MAX);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (stopped, hearing) = (stop.clone(), carrier.clone());
        tasks.spawn(async move {
            stopped.run_until_cancelled(hear(hearing, ears)).await;
        });
        let stopped = stop.clone();
        tasks.spawn(async move {
            stopped.run_until_cancelled(send(carrier, sender, rings)).await;
        });
        Self(Arc::new(Inner { queue, connected, stop, tasks: Mutex::new(Some(tasks)) }))
    }

    pub fn ring(&self, topic: &str) {
        // A full queue means that the carrier is away or slow; the slow poll finds what this tells.
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

/// Hears, again and again; never returns.
async fn hear<C: Carrier>(carrier: C, ears: Ears) {
    let mut longest = PAUSE;
    loop {
        let mut is_mute = false;
        tokio::select! {
            outcome = carrier.hear(&ears) => if let Err(error) = outcome {
                tracing::debug!(%error, "the wake-up channel is away");
            },
            () = ears.silence(), if C::HAS_A_PULSE => {
                is_mute = !ears.has_heard.load(Ordering::Relaxed);
                tracing::debug!(is_mute, "the wake-up channel is silent");
            }
        }
        ears.connected.store(false, Ordering::Relaxed);
        ears.has_heard.store(false, Ordering::Relaxed);
        // To be connected rings everything: not again and again where that is all that comes of it.
        longest = if is_mute { (2 * longest).min(PAUSE_MAX) } else { PAUSE };
        pause(longest).await;
    }
}

/// Not all who lost the carrier together come back together.
async fn pause(about: Duration) {
    tokio::time::sleep(about.mul_f64(rand::random_range(0.5..1.5))).await;
}

/// Sends what is in the queue, everything that is there and fits in one message.
async fn send<C: Carrier>(carrier: C, sender: String, mut rings: mpsc::Receiver<String>) {
    let mut connection = None;
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(topic) => Some(topic),
            None => tokio::select! {
                ring = rings.recv() => match ring {
                    Some(topic) => Some(topic),
                    None => return,
                },
                () = tokio::time::sleep(PULSE), if C::HAS_A_PULSE => None,
            },
        };
        let mut topics = Vec::from_iter(first);
        let mut bytes = sender.len() + topics.iter().map(|topic| 1 + topic.len()).sum::<usize>();
        while let Ok(topic) = rings.try_recv() {
            if topics.contains(&topic) {
                continue;
            }
            bytes += 1 + topic.len();
            if bytes > C::MESSAGE_BYTES_MAX {
                next = Some(topic);
                break;
            }
            topics.push(topic);
        }
        let message = format!("{sender}\n{}", topics.join("\n"));
        let sent = send_one(&carrier, &mut connection, &message);
        if !matches!(tokio::time::timeout(CALL_TIMEOUT, sent).await, Ok(Ok(()))) {
            connection = None;
            pause(PAUSE).await;
        }
    }
}

async fn send_one<C: Carrier>(
    carrier: &C,
    connection: &mut Option<C::Connection>,
    message: &str,
) -> Result<(), Cause> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(carrier.connect().await?),
    };
    carrier.send(connection, message).await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Takes every connection, and nothing ever comes by it.
    #[derive(Clone, Default)]
    struct Mute {
        connections: Arc<AtomicUsize>,
    }

    impl Carrier for Mute {
        type Connection = ();

        const MESSAGE_BYTES_MAX: usize = 100;
        const HAS_A_PULSE: bool = true;

        async fn hear(&self, ears: &Ears) -> Result<(), Cause> {
            self.connections.fetch_add(1, Ordering::Relaxed);
            ears.connected();
            std::future::pending().await
        }

        async fn connect(&self) -> Result<(), Cause> {
            Ok(())
        }

        async fn send(&self, (): &mut (), _: &str) -> Result<(), Cause> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_hears_anything_connects_more_and_more_seldom() {
        let mute = Mute::default();
        let bridge = Bridge::start(mute.clone(), Topics::default());
        tokio::time::sleep(Duration::from_secs(600)).await;
        let connections = mute.connections.load(Ordering::Relaxed);
        // Every 3.5 seconds it would be 170.
        assert!((5..60).contains(&connections), "{connections}");
        drop(bridge);
    }
}
