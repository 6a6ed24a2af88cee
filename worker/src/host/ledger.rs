//! Which attempt has what of the machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use asyncflow_proto::time::duration_ms;
use asyncflow_sdk::{
    v1::{LeasedTask, Placement, Resources},
    worker::AttemptHandle,
};

use super::{live::Live, usage::Meter};
use crate::gpu::Attempt;

/// What an attempt has.
#[derive(Clone, Default)]
pub struct Holding {
    /// UUIDs.
    pub gpus: Vec<String>,
    /// Its share of the memory of the one GPU; 0 = its GPUs are its own.
    pub share_bytes: i64,
    /// What it asked for.
    pub needs: Resources,
    /// It runs in a container, so its processes are not to be known by their environment.
    pub in_container: bool,
    /// When it must have ended.
    pub end_max_ms: Option<i64>,
    /// Why it may not begin: what it was placed on is not free.
    pub refused: Option<String>,
    /// The way to it, once it begins.
    pub handle: Option<AttemptHandle>,
    /// Faults of its GPUs that tell of the program, for people.
    pub faults: Vec<String>,
    /// GPUs that it was found to use without having them.
    pub trespassed: BTreeSet<String>,
    /// When its GPUs were busy last, or it began.
    pub busy_ms: i64,
    /// What it has used.
    pub meter: Meter,
    /// Where its shim writes down who runs, once it does.
    pub dir: Option<PathBuf>,
    /// What it uses of main memory and cores.
    pub live: Live,
}

impl Holding {
    fn of(task: &LeasedTask, placement: &Placement, now_ms: i64) -> Self {
        let is_in_container = |task: &asyncflow_sdk::v1::Task| {
            task.command.as_ref().is_some_and(|command| command.container.is_some())
        };
        let details = task.task.as_ref();
        let limit = details.and_then(|task| task.max_running_time.as_ref()).and_then(duration_ms);
        Self {
            gpus: placement.gpus.clone(),
            share_bytes: placement.gpu_memory_bytes.max(0),
            needs: details.and_then(|task| task.resources.clone()).unwrap_or_default(),
            in_container: details.is_some_and(is_in_container),
            end_max_ms: limit.map(|limit| now_ms.saturating_add(limit)),
            busy_ms: now_ms,
            meter: Meter::begun(now_ms),
            ..Self::default()
        }
    }

    /// Whether the GPU is its own.
    pub fn has_alone(&self, uuid: &str) -> bool {
        self.share_bytes == 0 && self.has(uuid)
    }

    /// Whether it has the GPU, or a share of it.
    pub fn has(&self, uuid: &str) -> bool {
        self.gpus.iter().any(|gpu| gpu == uuid)
    }

    /// For how long its GPUs may be idle.
    pub fn idle_max_ms(&self) -> Option<i64> {
        self.needs.gpu_idle_timeout.as_ref().and_then(duration_ms).filter(|ms| *ms > 0)
    }
}

/// All holdings.
#[derive(Default)]
pub struct Ledger(BTreeMap<Attempt, Holding>);

impl Ledger {
    /// Gives what the placement says. If that is not free the holding is empty, and says why.
    /// `memory_of` is the memory of a GPU, if there is one of that name.
    pub fn take(
        &mut self,
        key: Attempt,
        task: &LeasedTask,
        placement: &Placement,
        now_ms: i64,
        memory_of: impl Fn(&str) -> Option<i64>,
    ) {
        let mut holding = Holding::of(task, placement, now_ms);
        holding.refused = self.conflict(&holding, memory_of);
        if holding.refused.is_some() {
            holding.gpus.clear();
        }
        self.0.entry(key).or_insert(holding);
    }

    /// Gives what an attempt has that runs for so long already, whatever others have.
    pub fn readopt(&mut self, key: Attempt, task: &LeasedTask, now_ms: i64, ran: Duration) {
        let placement = task.placement.clone().unwrap_or_default();
        let ran_ms = i64::try_from(ran.as_millis()).unwrap_or(i64::MAX);
        let begun_ms = now_ms.saturating_sub(ran_ms);
        let holding = Holding::of(task, &placement, begun_ms);
        // Nobody looked before.
        let (busy_ms, meter) = (now_ms, Meter::resumed(begun_ms, now_ms));
        self.0.insert(key, Holding { busy_ms, meter, ..holding });
    }

    fn conflict(
        &self,
        wanted: &Holding,
        memory_of: impl Fn(&str) -> Option<i64>,
    ) -> Option<String> {
        for uuid in &wanted.gpus {
            let Some(memory) = memory_of(uuid) else { return Some(format!("there is no {uuid}")) };
            let others = || self.0.iter().filter(|(_, other)| other.has(uuid));
            let alone =
                others().find(|(_, other)| other.has_alone(uuid) || wanted.share_bytes == 0);
            if let Some((key, _)) = alone {
                return Some(format!("{} has {uuid}", key.task_id));
            }
            if self.shares_bytes(uuid).saturating_add(wanted.share_bytes) > memory {
                return Some(format!("too little memory of {uuid} is free"));
            }
        }
        None
    }

    /// Takes everything back. Repeating it does no harm.
    pub fn free(&mut self, key: &Attempt) -> Option<Holding> {
        self.0.remove(key)
    }

    /// What an attempt has.
    pub fn get(&self, key: &Attempt) -> Option<&Holding> {
        self.0.get(key)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &Attempt) -> Option<&mut Holding> {
        self.0.get_mut(key)
    }

    /// All of it.
    pub fn iter(&self) -> impl Iterator<Item = (&Attempt, &Holding)> {
        self.0.iter()
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Attempt, &mut Holding)> {
        self.0.iter_mut()
    }

    /// Who has a GPU, or a share of it.
    pub fn holders(&self, uuid: &str) -> impl Iterator<Item = (&Attempt, &Holding)> {
        self.0.iter().filter(move |(_, holding)| holding.has(uuid))
    }

    /// The sum of the shares of a GPU.
    pub fn shares_bytes(&self, uuid: &str) -> i64 {
        self.holders(uuid).map(|(_, holding)| holding.share_bytes).sum()
    }

    /// What tasks may use of a GPU's memory: all of it where one has it alone.
    pub fn held_bytes(&self, uuid: &str, memory_bytes: i64) -> i64 {
        let is_whole = self.holders(uuid).any(|(_, holding)| holding.has_alone(uuid));
        if is_whole { memory_bytes } else { self.shares_bytes(uuid) }
    }

    /// Nobody saw whether GPUs worked in the time that ends now: it counts for nobody as idle.
    pub fn pass_unseen(&mut self, now_ms: i64, span_ms: i64) {
        for holding in self.0.values_mut() {
            holding.busy_ms = holding.busy_ms.saturating_add(span_ms).min(now_ms);
        }
    }

    /// Cores that are given away.
    pub fn cpus(&self) -> f64 {
        self.0.values().map(|holding| holding.needs.cpus.max(0.0)).sum()
    }

    /// Main memory that is given away.
    pub fn memory_bytes(&self) -> i64 {
        self.0.values().map(|holding| holding.needs.memory_bytes.max(0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use asyncflow_sdk::v1::{LeasedTask, Placement, Task};

    use super::{Attempt, Ledger};

    const GIB: i64 = 1 << 30;

    fn take(ledger: &mut Ledger, id: &str, gpus: &[&str], share_bytes: i64) -> Option<String> {
        let key = Attempt { task_id: id.to_owned(), attempt: 1 };
        let gpus = gpus.iter().map(|gpu| (*gpu).to_owned()).collect();
        let placement = Placement { gpus, gpu_memory_bytes: share_bytes };
        let memory = |uuid: &str| uuid.starts_with("gpu").then_some(24 * GIB);
        ledger.take(key.clone(), &LeasedTask::default(), &placement, 0, memory);
        ledger.get(&key).and_then(|holding| holding.refused.clone())
    }

    #[test]
    fn a_gpu_is_one_tasks_own_or_shared_within_its_memory() {
        let mut ledger = Ledger::default();
        assert_eq!(take(&mut ledger, "a", &["gpu0", "gpu1"], 0), None);
        let refused = take(&mut ledger, "b", &["gpu1"], 0);
        assert_eq!(refused.as_deref(), Some("a has gpu1"));
        assert_eq!(take(&mut ledger, "c", &["gpu1"], 1).as_deref(), Some("a has gpu1"));
        assert_eq!(take(&mut ledger, "d", &["gpu2"], 10 * GIB), None);
        assert_eq!(take(&mut ledger, "e", &["gpu2"], 10 * GIB), None);
        let refused = take(&mut ledger, "f", &["gpu2"], 10 * GIB);
        assert_eq!(refused.as_deref(), Some("too little memory of gpu2 is free"));
        assert_eq!(take(&mut ledger, "g", &["gpu2"], 0).as_deref(), Some("d has gpu2"));
        assert_eq!(take(&mut ledger, "h", &["other"], 0).as_deref(), Some("there is no other"));
        ledger.free(&Attempt { task_id: "d".to_owned(), attempt: 1 });
        assert_eq!(take(&mut ledger, "i", &["gpu2"], 10 * GIB), None);
        assert_eq!(ledger.shares_bytes("gpu2"), 20 * GIB, "who was refused has nothing");
    }

    #[test]
    fn who_runs_already_keeps_what_he_has() {
        let mut ledger = Ledger::default();
        take(&mut ledger, "a", &["gpu0"], 0);
        let key = Attempt { task_id: "b".to_owned(), attempt: 2 };
        let placement = Placement { gpus: vec!["gpu0".to_owned()], gpu_memory_bytes: 0 };
        let task = LeasedTask { placement: Some(placement), ..LeasedTask::default() };
        ledger.readopt(key.clone(), &task, 0, Duration::ZERO);
        assert!(ledger.get(&key).is_some_and(|holding| holding.has_alone("gpu0")));
        assert_eq!(ledger.holders("gpu0").count(), 2);
    }

    #[test]
    fn the_time_before_an_adoption_counts() {
        let mut ledger = Ledger::default();
        let key = Attempt { task_id: "a".to_owned(), attempt: 1 };
        let max_running_time = Some(asyncflow_proto::time::duration(24_000));
        let task = Task { max_running_time, ..Task::default() };
        let task = LeasedTask { task: Some(task), ..LeasedTask::default() };
        ledger.readopt(key.clone(), &task, 100_000, Duration::from_secs(23));
        let holding = ledger.get(&key).cloned().unwrap_or_default();
        assert_eq!(holding.end_max_ms, Some(101_000), "one second is left");
        assert_eq!(holding.busy_ms, 100_000, "whether it was idle nobody knows");
        assert_eq!(holding.meter.usage(105_000, 1.0).gpu_seconds.to_string(), "28");
    }
}
