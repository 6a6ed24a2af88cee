//! Who is on which GPU, and whether he has it.

use std::collections::BTreeMap;

use super::{ledger::Ledger, strangers::Sighting};
use crate::gpu::{Attempt, Device, Owner, SeenProcess, Stranger};

/// What a GPU is busy with at least, in percent, that is not idle.
const BUSY_PERCENT: i32 = 5;

/// A GPU at one look, with who is on it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The GPU.
    pub device: Device,
    /// Who was not started by an attempt that has it.
    pub strangers: Vec<Sighting>,
    /// What those hold who have it.
    pub own: BTreeMap<Attempt, i64>,
}

/// An attempt on a GPU that it does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trespass {
    pub attempt: Attempt,
    pub uuid: String,
}

/// Tells apart who has a GPU, who has not, and who is a stranger.
pub fn sort(
    devices: Vec<(Device, Vec<SeenProcess>)>,
    ledger: &Ledger,
) -> (Vec<Seen>, Vec<Trespass>) {
    let mut trespasses = Vec::new();
    let of_device = |(device, processes): (Device, Vec<SeenProcess>)| {
        let mut seen = Seen { device, ..Seen::default() };
        for process in &processes {
            place(&mut seen, process, ledger, &mut trespasses);
        }
        seen
    };
    let seen = devices.into_iter().map(of_device).collect();
    (seen, trespasses)
}

fn place(seen: &mut Seen, process: &SeenProcess, ledger: &Ledger, found: &mut Vec<Trespass>) {
    let uuid = seen.device.uuid.clone();
    match &process.owner {
        // Those of an attempt that is over are being ended.
        Owner::Gone | Owner::Worker => {}
        Owner::Attempt(attempt) => match ledger.get(attempt) {
            None => {}
            Some(holding) if holding.has(&uuid) => {
                *seen.own.entry(attempt.clone()).or_default() += process.memory_bytes;
            }
            Some(_) => {
                seen.strangers.push(trespasser(process, attempt));
                found.push(Trespass { attempt: attempt.clone(), uuid });
            }
        },
        Owner::Stranger { who, in_container } => {
            let mut hosts = ledger.holders(&uuid).filter(|(_, holding)| {
                holding.needs.interactive || (*in_container && holding.in_container)
            });
            if let Some((attempt, _)) = hosts.next() {
                *seen.own.entry(attempt.clone()).or_default() += process.memory_bytes;
                return;
            }
            let sighting = stranger(seen, process, who, in_use(ledger, &uuid));
            seen.strangers.push(sighting);
        }
    }
}

/// Where nothing is known of single processes, the GPU's work is that of a stranger who is alone.
fn stranger(seen: &Seen, process: &SeenProcess, who: &Stranger, in_use: bool) -> Sighting {
    let of_all = seen.device.utilization_percent.filter(|_| !in_use).unwrap_or_default();
    Sighting {
        pid: process.pid,
        who: who.clone(),
        memory_bytes: process.memory_bytes,
        utilization_percent: process.utilization_percent.unwrap_or(of_all),
        ..Sighting::default()
    }
}

fn trespasser(process: &SeenProcess, attempt: &Attempt) -> Sighting {
    Sighting {
        pid: process.pid,
        who: Stranger {
            user: "asyncflow".to_owned(),
            command: format!("task {}, which was not given this GPU", attempt.task_id),
            start_ms: None,
        },
        memory_bytes: process.memory_bytes,
        utilization_percent: process.utilization_percent.unwrap_or_default(),
        is_trespasser: true,
        ..Sighting::default()
    }
}

/// Whether a task has the GPU, or a share of it.
pub fn in_use(ledger: &Ledger, uuid: &str) -> bool {
    ledger.holders(uuid).next().is_some()
}

/// Whether a GPU works. One that cannot be measured may: nobody is stopped for idleness there.
pub fn is_busy(device: &Device) -> bool {
    device.utilization_percent.is_none_or(|percent| percent >= BUSY_PERCENT)
}
