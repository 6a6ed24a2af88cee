//! What is to be thought of each GPU: a state machine that is fed with looks and times, and asked.
//!
//! ```text
//!   READY ──a stranger──▶ FOREIGN ──it ends──▶ COOLING_DOWN ──5 min──▶ READY
//!     │ ╲──an operator──▶ CORDONED
//!     └──severe fault──▶ QUARANTINED ──10 min, 1 h, 6 h, and it can be read──▶ READY
//!                              └── once more ──▶ BROKEN ──an operator──▶ READY
//! ```

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_sdk::v1::{GpuProcessTreatment as Treatment, GpuState};

use super::{
    audit::{Seen, in_use},
    faults::{Faults, Out, meaning},
    ledger::Ledger,
    orders::Orders,
    strangers::{Limits, Strangers},
};
use crate::gpu::{Attempt, Device, Fault, GpuConfig};

/// What has to be done about a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The GPU was taken out of use: whoever has it is to go elsewhere.
    Quarantined { uuid: String, xid: u32 },
    /// A fault of the program that has the GPU.
    Misused { uuid: String, xid: u32 },
    /// A fault of which nothing follows.
    Noted { uuid: String, xid: u32 },
}

/// A GPU that was seen at some time.
#[derive(Debug, Default)]
pub struct Card {
    /// As it was seen last.
    pub device: Device,
    /// It was there at the last look.
    pub is_there: bool,
    /// Who is on it that was not started here.
    pub strangers: Strangers,
    /// Memory that is in use although nobody is to be seen: the driver's own, or somebody of whom
    /// this worker may not know. Measured when no task is on it.
    pub hidden_bytes: i64,
}

/// What may be done with a GPU, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub state: GpuState,
    /// For people; empty if tasks may come.
    pub reason: String,
    /// When that is over, if it is known.
    pub until_ms: Option<i64>,
}

/// All GPUs of the host.
pub struct Monitor {
    limits: Limits,
    steps_ms: Vec<u64>,
    severe: BTreeSet<u32>,
    application: BTreeSet<u32>,
    cards: BTreeMap<String, Card>,
    pub faults: Faults,
    pub orders: Orders,
    /// Why nothing is to be seen.
    pub blind: Option<String>,
}

impl Monitor {
    /// No GPU was seen yet.
    pub fn new(config: &GpuConfig, faults: Faults) -> Self {
        Self {
            limits: config.into(),
            steps_ms: config.quarantine_ms.clone(),
            severe: config.severe_xids.iter().copied().collect(),
            application: config.application_xids.iter().copied().collect(),
            cards: BTreeMap::new(),
            faults,
            orders: Orders::default(),
            blind: None,
        }
    }

    /// Takes in a look that failed: nothing is given away that nobody can see.
    pub fn observe_nothing(&mut self, why: String) {
        self.blind = Some(why);
    }

    /// Takes in a look.
    pub fn observe(
        &mut self,
        now_ms: i64,
        seen: Vec<Seen>,
        faults: &[Fault],
        ledger: &Ledger,
    ) -> Vec<Finding> {
        self.blind = None;
        for card in self.cards.values_mut() {
            card.is_there = false;
        }
        for Seen { device, strangers, own } in seen {
            let mut strangers = strangers;
            for stranger in &mut strangers {
                let start_ms = stranger.who.start_ms.unwrap_or_default();
                stranger.treatment = self.orders.treatment(&device.uuid, stranger.pid, start_ms);
            }
            let is_new = !self.cards.contains_key(&device.uuid);
            let card = self.cards.entry(device.uuid.clone()).or_default();
            card.is_there = true;
            card.strangers.observe(now_ms, strangers, device.memory_bytes, &self.limits);
            let own_bytes = own.values().sum::<i64>();
            let known = card.strangers.memory_bytes() + own_bytes;
            card.hidden_bytes = match in_use(ledger, &device.uuid) {
                false => (device.memory_used_bytes - known).max(0),
                true if is_new => {
                    // Tasks of a former process: what they may use counts as theirs.
                    let theirs = ledger.held_bytes(&device.uuid, device.memory_bytes);
                    let known = known - own_bytes + own_bytes.max(theirs);
                    (device.memory_used_bytes - known).max(0)
                }
                true => card.hidden_bytes.min(device.memory_used_bytes),
            };
            card.device = device;
        }
        let readable = self.cards.values().filter(|card| card.is_there);
        let readable = readable.map(|card| card.device.uuid.as_str()).collect();
        self.faults.probe(&readable, now_ms, &self.steps_ms);
        self.obey();
        faults.iter().filter_map(|fault| self.judge(now_ms, fault)).collect()
    }

    fn judge(&mut self, now_ms: i64, fault: &Fault) -> Option<Finding> {
        let (uuid, xid) = (fault.uuid.clone(), fault.xid);
        if self.severe.contains(&xid) {
            let is_news = self.faults.strike(&uuid, xid, now_ms, &self.steps_ms);
            return is_news.then_some(Finding::Quarantined { uuid, xid });
        }
        Some(match self.application.contains(&xid) {
            true => Finding::Misused { uuid, xid },
            false => Finding::Noted { uuid, xid },
        })
    }

    /// Follows what was ordered of GPUs since.
    pub fn obey(&mut self) {
        for (uuid, time_ms) in self.orders.forgiven() {
            self.faults.forgive(uuid, time_ms);
            if let Some(card) = self.cards.get_mut(uuid) {
                card.strangers.forgive(time_ms);
            }
        }
    }

    /// The GPUs by index.
    pub fn cards(&self) -> Vec<&Card> {
        let mut cards: Vec<_> = self.cards.values().collect();
        cards.sort_by_key(|card| card.device.index);
        cards
    }

    /// Whether every card that is known, or has a number, is to be seen.
    pub fn are_all_there(&self) -> bool {
        let cards = self.cards();
        let mut numbered = cards.iter().zip(0..);
        numbered.all(|(card, number)| card.is_there && card.device.index == number)
    }

    /// One of them.
    pub fn card(&self, uuid: &str) -> Option<&Card> {
        self.cards.get(uuid)
    }

    /// How a person would call it.
    pub fn name_of(&self, uuid: &str) -> String {
        let card = self.cards.get(uuid);
        card.map_or_else(|| uuid.to_owned(), |card| format!("GPU {} ({uuid})", card.device.index))
    }

    /// What may be done with a GPU.
    pub fn standing(&self, card: &Card, ledger: &Ledger) -> Standing {
        let uuid = &card.device.uuid;
        let says = |state, reason: String, until_ms| Standing { state, reason, until_ms };
        let record = self.faults.out(uuid);
        let fault = record
            .map(|record| format!("it has shown XID {} ({})", record.xid, meaning(record.xid)));
        let fault = fault.unwrap_or_default();
        match record.map(|record| record.out) {
            Some(Out::Until(until_ms)) => {
                return says(GpuState::Quarantined, fault, Some(until_ms));
            }
            Some(Out::ForGood) => {
                let reason = format!("{fault}, and has shown faults before; uncordon it by hand");
                return says(GpuState::Broken, reason, None);
            }
            Some(Out::Back) | None => {}
        }
        if let Some(why) = &self.blind {
            return says(GpuState::Broken, format!("it cannot be looked at: {why}"), None);
        }
        if !card.is_there {
            return says(GpuState::Broken, "it is not to be seen any more".to_owned(), None);
        }
        if self.orders.is_cordoned(uuid) {
            return says(GpuState::Cordoned, "an operator keeps tasks away".to_owned(), None);
        }
        if let Some(known) = card.strangers.blocking() {
            let adopted = known.sighting.treatment == Treatment::Adopted;
            let how = if adopted { "reserved for" } else { "used by" };
            return says(GpuState::Foreign, format!("{how} {}", known.in_words()), None);
        }
        let limit = self.limits.memory_bytes(card.device.memory_bytes);
        if card.hidden_bytes >= limit && !in_use(ledger, uuid) {
            return says(GpuState::Foreign, out_of_sight(card.hidden_bytes), None);
        }
        if let Some(cooling) = card.strangers.cooling() {
            let reason = format!("{} used it a moment ago", cooling.who);
            return says(GpuState::CoolingDown, reason, Some(cooling.until_ms));
        }
        says(GpuState::Ready, String::new(), None)
    }

    /// What of its memory may be given away as shares.
    pub fn free_bytes(&self, card: &Card, ledger: &Ledger) -> i64 {
        let taken = card.hidden_bytes
            + card.strangers.memory_bytes()
            + ledger.shares_bytes(&card.device.uuid);
        (card.device.memory_bytes - taken).max(0)
    }

    /// Whether what the attempt has may be used now; else why not. Its own share counts as taken.
    pub fn may_begin(&self, key: &Attempt, ledger: &Ledger) -> Result<(), String> {
        let Some(holding) = ledger.get(key) else { return Err("it was given nothing".to_owned()) };
        if let Some(why) = &holding.refused {
            return Err(why.clone());
        }
        for uuid in &holding.gpus {
            let Some(card) = self.cards.get(uuid) else {
                return Err(format!("there is no GPU {uuid}"));
            };
            let standing = self.standing(card, ledger);
            if standing.state != GpuState::Ready {
                return Err(format!("{}: {}", self.name_of(uuid), standing.reason));
            }
            let known = card.strangers.memory_bytes();
            let unknown = card.device.memory_used_bytes - known;
            let limit = self.limits.memory_bytes(card.device.memory_bytes);
            if holding.has_alone(uuid) && unknown >= limit {
                return Err(format!("{}: {}", self.name_of(uuid), out_of_sight(unknown)));
            }
            let strangers = known + card.hidden_bytes;
            let shares = ledger.shares_bytes(uuid);
            if shares > 0 && shares.saturating_add(strangers) > card.device.memory_bytes {
                return Err(format!("{}: too little memory is free", self.name_of(uuid)));
            }
        }
        Ok(())
    }
}

fn out_of_sight(bytes: i64) -> String {
    format!("{} MiB are in use, by whom is not to be seen", bytes / (1 << 20))
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use asyncflow_sdk::v1::{LeasedTask, Placement};

    use super::{super::strangers::Sighting, *};
    use crate::{WorkerConfig, gpu::Stranger};

    const GIB: i64 = 1 << 30;

    fn seen(uuid: &str, index: i32, used_bytes: i64) -> Seen {
        let device = Device {
            uuid: uuid.to_owned(),
            index,
            memory_bytes: 24 * GIB,
            memory_used_bytes: used_bytes,
            ..Device::default()
        };
        Seen { device, ..Seen::default() }
    }

    fn with_bob(memory_bytes: i64) -> Seen {
        let who = Stranger { user: "bob".to_owned(), ..Stranger::default() };
        let bob = Sighting { pid: 42, who, memory_bytes, ..Sighting::default() };
        Seen { strangers: vec![bob], ..seen("gpu", 0, memory_bytes) }
    }

    /// A monitor with the defaults, that has seen these GPUs.
    pub fn monitor_of(uuids: &[&str]) -> Monitor {
        let config = WorkerConfig::defaults().unwrap();
        let mut monitor = Monitor::new(&config.gpu, Faults::default());
        let all = uuids.iter().zip(0..).map(|(uuid, index)| seen(uuid, index, 0)).collect();
        monitor.observe(0, all, &[], &Ledger::default());
        monitor
    }

    fn state(monitor: &Monitor, ledger: &Ledger) -> GpuState {
        monitor.standing(monitor.card("gpu").unwrap(), ledger).state
    }

    fn key(id: &str) -> Attempt {
        Attempt { task_id: id.to_owned(), attempt: 1 }
    }

    fn share(ledger: &mut Ledger, id: &str, bytes: i64) {
        let placement = Placement { gpus: vec!["gpu".to_owned()], gpu_memory_bytes: bytes };
        ledger.take(key(id), &LeasedTask::default(), &placement, 0, |_| Some(24 * GIB));
    }

    #[test]
    fn it_goes_through_its_states() {
        let (mut monitor, ledger) = (monitor_of(&["gpu"]), Ledger::default());
        assert_eq!(state(&monitor, &ledger), GpuState::Ready);
        monitor.observe(1_000, vec![with_bob(2 * GIB)], &[], &ledger);
        assert_eq!(state(&monitor, &ledger), GpuState::Foreign);
        monitor.observe(2_000, vec![seen("gpu", 0, 0)], &[], &ledger);
        assert_eq!(state(&monitor, &ledger), GpuState::CoolingDown);
        monitor.observe(301_999, vec![seen("gpu", 0, 0)], &[], &ledger);
        assert_eq!(state(&monitor, &ledger), GpuState::CoolingDown);
        monitor.observe(302_000, vec![seen("gpu", 0, 0)], &[], &ledger);
        assert_eq!(state(&monitor, &ledger), GpuState::Ready);
        let fault = |xid| Fault { uuid: "gpu".to_owned(), xid };
        let faults = [fault(31), fault(79), fault(48), fault(7)];
        let findings = monitor.observe(303_000, vec![seen("gpu", 0, 0)], &faults, &ledger);
        let uuid = || "gpu".to_owned();
        let expected = [
            Finding::Misused { uuid: uuid(), xid: 31 },
            Finding::Quarantined { uuid: uuid(), xid: 79 },
            Finding::Noted { uuid: uuid(), xid: 7 },
        ];
        assert_eq!(findings, expected, "48 comes of 79");
        assert_eq!(state(&monitor, &ledger), GpuState::Quarantined);
        monitor.observe(903_000, vec![seen("gpu", 0, 0)], &[], &ledger);
        assert_eq!(state(&monitor, &ledger), GpuState::Ready);
        monitor.observe(904_000, vec![], &[], &ledger);
        assert_eq!(state(&monitor, &ledger), GpuState::Broken);
        monitor.observe(905_000, vec![seen("gpu", 0, 0)], &[], &ledger);
        monitor.observe_nothing("it hangs".to_owned());
        assert_eq!(state(&monitor, &ledger), GpuState::Broken);
    }

    #[test]
    fn memory_that_nobody_is_seen_to_hold_is_not_given_away() {
        let (mut monitor, mut ledger) = (monitor_of(&["gpu"]), Ledger::default());
        monitor.observe(1_000, vec![seen("gpu", 0, GIB / 2)], &[], &ledger);
        assert_eq!(state(&monitor, &ledger), GpuState::Ready, "the driver's own");
        let free = |monitor: &Monitor, ledger: &Ledger| {
            monitor.free_bytes(monitor.card("gpu").unwrap(), ledger)
        };
        assert_eq!(free(&monitor, &ledger), 24 * GIB - GIB / 2);
        monitor.observe(2_000, vec![seen("gpu", 0, 20 * GIB)], &[], &ledger);
        assert_eq!(state(&monitor, &ledger), GpuState::Foreign, "somebody out of sight");
        monitor.observe(3_000, vec![seen("gpu", 0, GIB / 2)], &[], &ledger);
        share(&mut ledger, "a", 10 * GIB);
        monitor.observe(4_000, vec![seen("gpu", 0, 9 * GIB)], &[], &ledger);
        assert_eq!(state(&monitor, &ledger), GpuState::Ready, "a task has it");
        assert_eq!(free(&monitor, &ledger), 14 * GIB - GIB / 2);
    }

    #[test]
    fn what_adopted_tasks_may_use_is_not_hidden_at_the_first_look() {
        let config = WorkerConfig::defaults().unwrap();
        let free = |share_bytes, used_bytes| {
            let (mut monitor, mut ledger) =
                (Monitor::new(&config.gpu, Faults::default()), Ledger::default());
            share(&mut ledger, "a", share_bytes);
            monitor.observe(0, vec![seen("gpu", 0, used_bytes)], &[], &ledger);
            ledger.free(&key("a"));
            monitor.free_bytes(monitor.card("gpu").unwrap(), &ledger)
        };
        assert_eq!(free(10 * GIB, 9 * GIB), 24 * GIB);
        assert_eq!(free(10 * GIB, 16 * GIB), 18 * GIB, "somebody has six of them");
        assert_eq!(free(0, 20 * GIB), 24 * GIB, "the whole GPU is its own");
    }

    #[test]
    fn a_task_may_begin_if_what_it_has_is_still_free() {
        let (mut monitor, mut ledger) = (monitor_of(&["gpu"]), Ledger::default());
        share(&mut ledger, "a", 10 * GIB);
        share(&mut ledger, "b", 14 * GIB);
        assert_eq!(monitor.may_begin(&key("a"), &ledger), Ok(()));
        monitor.observe(1_000, vec![with_bob(GIB / 2)], &[], &ledger);
        let why = monitor.may_begin(&key("a"), &ledger).unwrap_err();
        assert_eq!(why, "GPU 0 (gpu): too little memory is free");
        ledger.free(&key("b"));
        assert_eq!(monitor.may_begin(&key("a"), &ledger), Ok(()));
        monitor.observe(2_000, vec![with_bob(2 * GIB)], &[], &ledger);
        let why = monitor.may_begin(&key("a"), &ledger).unwrap_err();
        assert!(why.contains("used by pid 42 of bob"), "{why}");
        share(&mut ledger, "c", 20 * GIB);
        let why = monitor.may_begin(&key("c"), &ledger).unwrap_err();
        assert_eq!(why, "too little memory of gpu is free");
    }

    #[test]
    fn a_gpu_of_ones_own_is_empty_when_one_begins() {
        let (mut monitor, mut ledger) = (monitor_of(&["gpu"]), Ledger::default());
        share(&mut ledger, "a", 0);
        assert_eq!(monitor.may_begin(&key("a"), &ledger), Ok(()));
        monitor.observe(1_000, vec![seen("gpu", 0, 3 * GIB)], &[], &ledger);
        let why = monitor.may_begin(&key("a"), &ledger).unwrap_err();
        assert_eq!(why, "GPU 0 (gpu): 3072 MiB are in use, by whom is not to be seen");
    }
}
