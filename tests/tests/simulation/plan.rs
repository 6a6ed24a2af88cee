//! What a seed chooses: who takes part, and what is done to them until when.

use asyncflow_store::testing::Dice;

use super::{shim::Programs, worker::Disk};

/// Most faults begin within this time; afterwards everything heals.
const FAULTS_FROM_MS: u64 = 500;
const HEAL_MS: u64 = 24_000;

#[derive(Clone, Debug)]
pub enum Fault {
    Crash(String),
    /// Also ends a crash.
    Start(String),
    Partition(String, String),
    PartitionOneWay(String, String),
    Repair(String, String),
    /// What is sent waits on the way.
    Hold(String, String),
    Release(String, String),
    /// The same between a worker and all brokers: nothing gets through, or it waits.
    CutOff(String),
    Stall(String),
    /// Ends both.
    Reach(String),
    DatabaseAway,
    DatabaseBack,
}

#[derive(Clone)]
pub struct WorkerPlan {
    pub name: String,
    pub slots: usize,
    pub starts_later: bool,
    pub keeps_journal: bool,
    pub disk: Disk,
    /// Its attempts outlive its process.
    pub adopts: bool,
    pub programs: Programs,
}

#[derive(Clone)]
pub struct Plan {
    pub brokers: u64,
    pub workers: Vec<WorkerPlan>,
    pub tasks: u64,
    /// Tasks are created within this time.
    pub creates_ms: u64,
    pub max_crashes: i32,
    pub latency_ms_max: u64,
    /// What is done, by time.
    pub faults: Vec<(u64, Fault)>,
    /// From then on nothing is done to anybody.
    pub heal_ms: u64,
}

pub const CLIENT: &str = "client";
pub const GOVERNOR: &str = "governor";

pub fn broker_name(number: u64) -> String {
    format!("broker-{number}")
}

impl Plan {
    pub fn of(dice: &mut Dice) -> Self {
        let worker = |number, dice: &mut Dice| WorkerPlan {
            name: format!("worker-{number}"),
            slots: dice.between(1, 3) as usize,
            starts_later: dice.one_in(4),
            keeps_journal: dice.one_in(2),
            disk: Disk::default(),
            adopts: dice.one_in(3),
            programs: Programs::default(),
        };
        let mut plan = Self {
            brokers: dice.between(1, 2),
            workers: (0..dice.between(2, 3)).map(|number| worker(number, dice)).collect(),
            tasks: dice.between(6, 14),
            creates_ms: dice.between(2_000, 14_000),
            max_crashes: if dice.one_in(4) { 1 } else { 20 },
            latency_ms_max: dice.between(2, 60),
            faults: Vec::new(),
            heal_ms: HEAL_MS,
        };
        for _ in 0..dice.between(4, 10) {
            let from_ms = dice.between(FAULTS_FROM_MS, HEAL_MS - 2_000);
            let (begin, end) = plan.fault(dice);
            // Most of them for longer than it takes to be given up.
            let least_ms = if matches!(end, Fault::Reach(_)) { 4_000 } else { 300 };
            let until_ms = (from_ms + dice.between(least_ms, 9_000)).min(HEAL_MS);
            plan.faults.push((from_ms, begin));
            plan.faults.push((until_ms, end));
        }
        plan.faults.sort_by_key(|(at_ms, _)| *at_ms);
        plan
    }

    fn worker(&self, dice: &mut Dice) -> String {
        self.workers[dice.roll(self.workers.len() as u64) as usize].name.clone()
    }

    /// What begins, and what ends it.
    fn fault(&self, dice: &mut Dice) -> (Fault, Fault) {
        let broker = broker_name(dice.roll(self.brokers));
        let worker = self.worker(dice);
        match dice.roll(16) {
            0..2 => (Fault::Crash(broker.clone()), Fault::Start(broker)),
            2..4 => (Fault::Crash(worker.clone()), Fault::Start(worker)),
            4 => (Fault::Crash(GOVERNOR.to_owned()), Fault::Start(GOVERNOR.to_owned())),
            5..7 => {
                let begin = Fault::Partition(worker.clone(), broker.clone());
                (begin, Fault::Repair(worker, broker))
            }
            7 => {
                let begin = Fault::PartitionOneWay(worker.clone(), broker.clone());
                (begin, Fault::Repair(worker, broker))
            }
            8 => {
                let begin = Fault::PartitionOneWay(broker.clone(), worker.clone());
                (begin, Fault::Repair(worker, broker))
            }
            9 => {
                let begin = Fault::Hold(worker.clone(), broker.clone());
                (begin, Fault::Release(worker, broker))
            }
            10 => {
                let begin = Fault::Partition(CLIENT.to_owned(), broker.clone());
                (begin, Fault::Repair(CLIENT.to_owned(), broker))
            }
            11..13 => (Fault::CutOff(worker.clone()), Fault::Reach(worker)),
            13..15 => (Fault::Stall(worker.clone()), Fault::Reach(worker)),
            _ => (Fault::DatabaseAway, Fault::DatabaseBack),
        }
    }
}
