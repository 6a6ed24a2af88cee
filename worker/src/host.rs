//! The machine beside the tasks: who has what of it, what may be given away, what goes wrong.
//!
//! | module | answers |
//! |---|---|
//! | `ledger` | which attempt has what |
//! | `monitor` | what is to be thought of each GPU; fed with looks, pure |
//! | `strangers`, `faults`, `orders` | its parts: processes of others, XIDs, what operators want |
//! | `audit` | who is on which GPU, and whether he has it |
//! | `admit` | whether a task may begin now |
//! | `follow_up` | what is done about what was seen |
//! | `environment` | the variables that show a program its GPUs |
//! | `live`, `container` | what attempts use of memory and cores now |
//! | `usage`, `report`, `machine` | figures, and what brokers are told |

mod admit;
mod audit;
mod container;
mod environment;
mod faults;
mod follow_up;
mod ledger;
mod live;
mod machine;
mod monitor;
mod orders;
mod report;
mod strangers;
mod usage;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use asyncflow_sdk::{
    v1::{GpuState, HostOffer, HostOrders, HostReport, Lease, LeasedTask, Placement},
    worker::HostSide,
};
use tokio::sync::{Notify, watch};

pub use admit::Allotment;
use faults::Faults;
use ledger::Ledger;
use machine::Machine;
use monitor::Monitor;
use orders::Orders;

use crate::{
    WorkerConfig, clock,
    gpu::{Attempt, GpuWatch, Look, ProcessOwners, Vendor, VisibleAs},
};

/// A host without GPUs is looked at this often, in case a driver is loaded.
const IDLE_INTERVAL: Duration = Duration::from_secs(60);

/// The machine; shared by the runtime, the executors, and the loop that looks at it.
pub struct Host {
    state: Mutex<State>,
    /// The number of the last change that matters to brokers.
    changes: watch::Sender<u64>,
    watch: tokio::sync::Mutex<GpuWatch>,
    wanted: Notify,
    /// Something has begun that can be measured.
    runs: Notify,
    /// Looks are numbered: this one was begun last,
    begun: AtomicU64,
    /// and this one is done.
    done: watch::Sender<u64>,
    faults_file: PathBuf,
    visible_as: VisibleAs,
    interval: Duration,
}

struct State {
    ledger: Ledger,
    monitor: Monitor,
    machine: Machine,
    /// Its name.
    host: String,
    provider: &'static str,
    vendor: Vendor,
    /// Why tasks cannot be started, whatever is free.
    trouble: Option<String>,
    /// When it was looked at last, or that was tried.
    looked_ms: i64,
    /// What brokers were offered last, and what was said of the GPUs.
    told: Told,
    faults_kept: Faults,
}

/// What of offer and report is news.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    offer: HostOffer,
    /// State, reason, tasks and strangers of each GPU.
    gpus: Vec<(i32, String, Vec<i32>)>,
    alarms: Vec<String>,
    /// Who runs on GPUs. All others come and go too fast to be told one by one.
    running: Vec<(Attempt, usize)>,
}

impl Host {
    /// Looks for the first time, which takes as long as the driver takes, `call_timeout_ms` at
    /// most. `name` is the host's; `data_dir` keeps what GPUs have done; `running` already is what
    /// a former process started, for so long: what it uses is no stranger's.
    pub async fn open<'a>(
        config: &WorkerConfig,
        name: String,
        data_dir: &Path,
        owners: Arc<dyn ProcessOwners>,
        running: impl IntoIterator<Item = (&'a LeasedTask, Duration)>,
    ) -> Arc<Self> {
        let faults_file = data_dir.join("gpu_faults.json");
        let faults = read_faults(&faults_file);
        let mut ledger = Ledger::default();
        for (task, ran) in running {
            let Some(lease) = &task.lease else { continue };
            ledger.readopt(lease.into(), task, clock::steady_ms(), ran);
        }
        let state = State {
            ledger,
            monitor: Monitor::new(&config.gpu, faults.clone()),
            machine: Machine::measure(config.cpus, config.memory_bytes),
            host: name,
            provider: "none",
            vendor: Vendor::None,
            trouble: None,
            looked_ms: clock::steady_ms(),
            told: Told::default(),
            faults_kept: faults,
        };
        let host = Arc::new(Self {
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
            watch: tokio::sync::Mutex::new(GpuWatch::new(config.gpu.clone(), owners)),
            wanted: Notify::new(),
            runs: Notify::new(),
            begun: AtomicU64::new(0),
            done: watch::Sender::new(0),
            faults_file,
            visible_as: config.gpu.visible_as,
            interval: Duration::from_millis(config.gpu.sample_interval_ms),
        });
        host.look_once().await;
        let (provider, gpus) = host.with(|state| (state.provider, state.monitor.cards().len()));
        tracing::info!(provider, "{gpus} {}", if gpus == 1 { "GPU" } else { "GPUs" });
        host
    }

    fn with<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        let mut state: MutexGuard<'_, State> =
            self.state.lock().unwrap_or_else(PoisonError::into_inner);
        run(&mut state)
    }

    /// Looks again and again, until it is dropped.
    pub async fn run(&self) {
        tokio::join!(self.keep_looking(), self.measure());
    }

    async fn keep_looking(&self) {
        loop {
            let is_bare =
                |state: &mut State| state.vendor == Vendor::None && state.monitor.blind.is_none();
            let is_bare = self.with(is_bare);
            let pause = if is_bare { IDLE_INTERVAL.max(self.interval) } else { self.interval };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
            self.look_once().await;
        }
    }

    /// Waits for a look that begins after this call. Needs [`Self::run`] beside it. Cancel safe.
    async fn look(&self) {
        let wanted = self.begun.load(Ordering::SeqCst) + 1;
        let mut done = self.done.subscribe();
        self.wanted.notify_one();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = done.wait_for(|done| *done >= wanted).await;
    }

    async fn look_once(&self) {
        let mut watch = self.watch.lock().await;
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let look = watch.look().await;
        drop(watch);
        let actions = self.with(|state| state.take_in(clock::steady_ms(), look));
        self.tell_changes();
        self.keep_faults().await;
        self.done.send_replace(number);
        for action in actions {
            action.carry_out().await;
        }
    }

    /// Wakes who tells brokers, if there is something to tell.
    fn tell_changes(&self) {
        let is_news = self.with(|state| {
            let told = state.told_now();
            let ready = told.gpus.iter().filter(|(gpu, ..)| *gpu == GpuState::Ready as i32);
            metrics::gauge!("asyncflow_worker_gpus").set(told.gpus.len() as f64);
            metrics::gauge!("asyncflow_worker_gpus_ready").set(ready.count() as f64);
            let is_news = told != state.told;
            state.told = told;
            is_news
        });
        if is_news {
            self.changes.send_modify(|version| *version += 1);
        }
    }

    /// What GPUs have done outlives the worker.
    async fn keep_faults(&self) {
        let new = self.with(|state| {
            let is_new = state.monitor.faults != state.faults_kept;
            is_new.then(|| state.monitor.faults.clone())
        });
        let Some(faults) = new else { return };
        let path = self.faults_file.clone();
        let kept = faults.clone();
        let writing = tokio::task::spawn_blocking(move || write_faults(&path, &faults));
        match writing.await {
            Ok(Ok(())) => self.with(|state| state.faults_kept = kept),
            Ok(Err(error)) => tracing::warn!(%error, "faults of GPUs are not kept, trying again"),
            Err(error) => tracing::warn!(%error, "faults of GPUs are not kept, trying again"),
        }
    }

    /// Keeps brokers and people informed of why tasks cannot be started here; `None` = they can.
    pub fn set_trouble(&self, trouble: Option<String>) {
        self.with(|state| state.trouble = trouble);
        self.tell_changes();
    }

    fn free(&self, key: &Attempt) {
        self.with(|state| state.ledger.free(key));
        self.tell_changes();
    }
}

impl HostSide for Host {
    fn offer(&self) -> Option<HostOffer> {
        Some(self.with(|state| state.offer()))
    }

    fn report(&self) -> HostReport {
        self.with(|state| state.report(clock::steady_ms()))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn follow(&self, orders: &HostOrders) {
        let orders = Orders::from(orders);
        let is_news = self.with(|state| {
            let is_news = state.monitor.orders != orders;
            state.monitor.orders = orders;
            state.monitor.obey();
            is_news
        });
        if is_news {
            self.tell_changes();
            self.wanted.notify_one();
        }
    }

    fn taken(&self, task: &LeasedTask) {
        let Some(lease) = &task.lease else { return };
        self.with(|state| state.take(lease.into(), task, clock::steady_ms()));
        self.tell_changes();
    }

    fn ended(&self, lease: &Lease) {
        self.free(&lease.into());
    }
}

impl State {
    fn take(&mut self, key: Attempt, task: &LeasedTask, now_ms: i64) {
        let chosen = task.placement.clone().or_else(|| self.choose(task));
        let placement = chosen.clone().unwrap_or_default();
        let monitor = &self.monitor;
        let memory = |uuid: &str| monitor.card(uuid).map(|card| card.device.memory_bytes);
        self.ledger.take(key.clone(), task, &placement, now_ms, memory);
        if chosen.is_none()
            && let Some(holding) = self.ledger.get_mut(&key)
        {
            holding.refused = Some("no GPU that it can use is free".to_owned());
        }
    }

    /// A place for a task that was given none; `None` if it needs one and there is none.
    fn choose(&self, task: &LeasedTask) -> Option<Placement> {
        let needs = task.task.as_ref().and_then(|task| task.resources.clone()).unwrap_or_default();
        admit::choose(&needs, &self.offer().gpus)
    }

    fn take_in(&mut self, now_ms: i64, look: Look) -> Vec<follow_up::Action> {
        let span_ms = now_ms - std::mem::replace(&mut self.looked_ms, now_ms);
        self.provider = look.provider;
        self.vendor = look.vendor;
        let seen = match look.seen {
            Ok(seen) => seen,
            Err(why) => {
                if self.monitor.blind.is_none() {
                    tracing::error!(provider = look.provider, why, "GPUs cannot be looked at");
                }
                self.monitor.observe_nothing(why);
                self.ledger.pass_unseen(now_ms, span_ms);
                return Vec::new();
            }
        };
        let (devices, trespasses) = audit::sort(seen.devices, &self.ledger);
        self.read_meters(now_ms, &devices);
        let findings = self.monitor.observe(now_ms, devices, &seen.faults, &self.ledger);
        self.follow_up(now_ms, findings, trespasses)
    }

    fn told_now(&self) -> Told {
        let offer = HostOffer { load: 0.0, ..self.offer() };
        let report = self.report(0);
        let gpu = |gpu: asyncflow_sdk::v1::Gpu| {
            let who = format!("{} {:?}", gpu.reason, gpu.task_ids);
            (gpu.state, who, gpu.processes.iter().map(|process| process.pid).collect())
        };
        let runs = |holding: &ledger::Holding| holding.handle.is_some() && !holding.gpus.is_empty();
        let running = self.ledger.iter().filter(|(_, holding)| runs(holding));
        let running = running.map(|(key, holding)| (key.clone(), holding.trespassed.len()));
        Told {
            offer,
            gpus: report.gpus.into_iter().map(gpu).collect(),
            alarms: report.alarms,
            running: running.collect(),
        }
    }
}

fn read_faults(path: &Path) -> Faults {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Faults::default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "what GPUs have done cannot be read");
            return Faults::default();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "what GPUs have done cannot be read");
        Faults::default()
    })
}

fn write_faults(path: &Path, faults: &Faults) -> std::io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, serde_json::to_vec_pretty(faults)?)?;
    std::fs::rename(&new, path)
}
