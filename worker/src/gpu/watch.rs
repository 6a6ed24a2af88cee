//! The thread on which GPUs are looked at, and who waits for it.
//!
//! A driver that hangs keeps its caller in the kernel for good: nobody can end that thread. It is
//! left behind, and later another one is tried.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Device, Fault, GpuConfig, GpuProvider, Owner, ProcessOwners, ProviderChoice, Vendor,
    open::{NotOpened, open},
};
use crate::clock;

/// After a thread was left behind, another one is not tried before so many times `call_timeout_ms`.
const THREAD_PAUSE_TIMEOUTS: u32 = 6;
/// A provider that could not be opened is not tried before.
const OPEN_PAUSE: Duration = Duration::from_secs(60);
/// So many threads may hang; then no other one is tried.
const HUNG_MAX: usize = 8;

/// What a look gave.
#[derive(Clone, Debug)]
pub struct Look {
    /// Where it is from: `nvml`, `none` …
    pub provider: &'static str,
    /// Who made the GPUs.
    pub vendor: Vendor,
    /// What was seen; else why nothing was.
    pub seen: Result<LookedAt, String>,
}

impl Default for Look {
    fn default() -> Self {
        Self { provider: "none", vendor: Vendor::None, seen: Ok(LookedAt::default()) }
    }
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct LookedAt {
    /// The GPUs, with who is on them.
    pub devices: Vec<(Device, Vec<SeenProcess>)>,
    /// Since the look before.
    pub faults: Vec<Fault>,
}

/// A process on a GPU, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenProcess {
    /// Its process id.
    pub pid: i32,
    /// What it holds there.
    pub memory_bytes: i64,
    /// 0 to 100; `None` = not known.
    pub utilization_percent: Option<i32>,
    /// Whose it is.
    pub owner: Owner,
}

type Request = oneshot::Sender<Look>;

/// Looks at GPUs without ever blocking who asks.
pub struct GpuWatch {
    config: GpuConfig,
    owners: Arc<dyn ProcessOwners>,
    thread: Option<mpsc::Sender<Request>>,
    /// When the last thread was left behind.
    left_at: Option<Instant>,
    hung: Arc<AtomicUsize>,
    last: Look,
}

impl GpuWatch {
    /// Nothing is touched before the first look.
    pub fn new(config: GpuConfig, owners: Arc<dyn ProcessOwners>) -> Self {
        let (thread, left_at, last) = (None, None, Look::default());
        Self { config, owners, thread, left_at, hung: Arc::default(), last }
    }

    /// Looks, within `call_timeout_ms`. Not cancel safe: the look would be lost with its faults.
    pub async fn look(&mut self) -> Look {
        let limit = Duration::from_millis(self.config.call_timeout_ms);
        let pause = limit * THREAD_PAUSE_TIMEOUTS;
        if self.left_at.is_some_and(|left_at| left_at.elapsed() < pause) {
            return self.nothing(format!("the driver has not answered for {limit:?}"));
        }
        let (request, answer) = oneshot::channel();
        if let Err(message) = self.ask(request) {
            return self.nothing(message);
        }
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(look)) => {
                self.left_at = None;
                self.last = Look { seen: Ok(LookedAt::default()), ..look.clone() };
                look
            }
            Ok(Err(_)) => {
                self.thread = None;
                self.nothing("the thread that looks at GPUs has ended".to_owned())
            }
            Err(_) => {
                tracing::error!(?limit, "a look at the GPUs hangs, its thread is left behind");
                self.thread = None;
                self.left_at = Some(clock::now());
                self.nothing(format!("the driver has not answered for {limit:?}"))
            }
        }
    }

    fn nothing(&self, message: String) -> Look {
        Look { seen: Err(message), ..self.last.clone() }
    }

    fn ask(&mut self, request: Request) -> Result<(), String> {
        let request = match &self.thread {
            Some(thread) => match thread.send(request) {
                Ok(()) => return Ok(()),
                Err(mpsc::SendError(request)) => request,
            },
            None => request,
        };
        if self.hung.load(Ordering::Relaxed) >= HUNG_MAX {
            return Err("the driver does not answer; restart the host".to_owned());
        }
        let (sender, requests) = mpsc::channel();
        let (config, owners, hung) = (self.config.clone(), self.owners.clone(), self.hung.clone());
        let serving = move || {
            let _counted = Counted::new(hung);
            serve(&config, &*owners, &requests);
        };
        let thread = std::thread::Builder::new().name("gpus".to_owned()).spawn(serving);
        thread.map_err(|error| format!("no thread to look at GPUs: {error}"))?;
        let _ = sender.send(request);
        self.thread = Some(sender);
        Ok(())
    }
}

/// A thread that has not ended; one that panics has.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The thread: answers until nobody asks any more.
fn serve(config: &GpuConfig, owners: &dyn ProcessOwners, requests: &mpsc::Receiver<Request>) {
    let mut door = Door::Closed;
    while let Ok(request) = requests.recv() {
        let look = door.look(config, owners);
        // Nobody waits who has given up on this thread.
        let _ = request.send(look);
    }
}

/// The provider, or why there is none.
enum Door {
    Closed,
    Open { provider: Box<dyn GpuProvider>, opened_at: Instant },
    Stuck { look: Look, tried_at: Instant },
}

impl Door {
    fn look(&mut self, config: &GpuConfig, owners: &dyn ProcessOwners) -> Look {
        match self {
            Self::Stuck { look, tried_at } if tried_at.elapsed() < OPEN_PAUSE => {
                return look.clone();
            }
            // A driver may have been loaded meanwhile.
            Self::Open { provider, opened_at }
                if config.provider == ProviderChoice::Auto
                    && provider.vendor() == Vendor::None
                    && opened_at.elapsed() >= OPEN_PAUSE =>
            {
                *self = Self::try_open(config);
            }
            Self::Open { .. } => {}
            Self::Closed | Self::Stuck { .. } => *self = Self::try_open(config),
        }
        let Self::Open { provider, .. } = self else {
            return self.stuck_look();
        };
        let (name, vendor) = (provider.name(), provider.vendor());
        let look = |seen| Look { provider: name, vendor, seen };
        match provider.sample() {
            Ok(sample) => {
                let of_device = |device: Device| {
                    let seen = device.processes.iter().map(|process| SeenProcess {
                        pid: process.pid,
                        memory_bytes: process.memory_bytes,
                        utilization_percent: process.utilization_percent,
                        owner: match process.stranger.clone() {
                            Some(who) => Owner::Stranger { who, in_container: false },
                            None => owners.owner(process.pid),
                        },
                    });
                    let seen = seen.collect();
                    (device, seen)
                };
                let devices = sample.devices.into_iter().map(of_device).collect();
                look(Ok(LookedAt { devices, faults: sample.faults }))
            }
            Err(error) => {
                // The fake one reads its file anew anyway, and must not forget what it has told.
                if config.provider != ProviderChoice::Fake {
                    let look = look(Err(error.to_string()));
                    *self = Self::Stuck { look, tried_at: clock::now() };
                }
                Look { provider: name, vendor, seen: Err(error.to_string()) }
            }
        }
    }

    fn try_open(config: &GpuConfig) -> Self {
        match open(config) {
            Ok(provider) => Self::Open { provider, opened_at: clock::now() },
            Err(NotOpened::Absent(message)) => {
                let look = Look { provider: "none", seen: Err(message), ..Look::default() };
                Self::Stuck { look, tried_at: clock::now() }
            }
            Err(NotOpened::Broken { name, vendor, message }) => {
                let look = Look { provider: name, vendor, seen: Err(message) };
                Self::Stuck { look, tried_at: clock::now() }
            }
        }
    }

    fn stuck_look(&self) -> Look {
        match self {
            Self::Stuck { look, .. } => look.clone(),
            Self::Open { .. } | Self::Closed => Look::default(),
        }
    }
}
