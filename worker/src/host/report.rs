//! What brokers are told of the machine.

use asyncflow_proto::time::timestamp;
use asyncflow_sdk::v1::{
    AttemptUsage, Gpu, GpuOffer, GpuProcess, GpuState, GpuUse, HostOffer, HostReport, RunningTask,
};

use super::{State, ledger::Holding, monitor::Card, strangers::Known};

const ALARMS_MAX: usize = 16;
const ALARM_BYTES_MAX: usize = 1_024;
const GPUS_MAX: usize = 64;
const RUNNING_MAX: usize = 1_000;
/// Free memory is told in such steps: what a desktop uses changes all the time.
const FREE_STEP_BYTES: i64 = 16 * 1024 * 1024;

impl State {
    /// What is free.
    pub(super) fn offer(&self) -> HostOffer {
        let gpu = |card: &Card| {
            let use_ = self.use_of(card);
            let whole = use_ != GpuUse::Unavailable && use_ != GpuUse::Exclusive;
            let free = if whole { self.monitor.free_bytes(card, &self.ledger) } else { 0 };
            GpuOffer {
                uuid: card.device.uuid.clone(),
                model: card.device.model.clone(),
                memory_bytes: card.device.memory_bytes,
                memory_free_bytes: free - free % FREE_STEP_BYTES,
                r#use: use_.into(),
                free_time: self.free_ms(card).map(timestamp),
            }
        };
        HostOffer {
            cpus: (self.machine.cpus - self.ledger.cpus()).max(0.0),
            memory_bytes: (self.machine.memory_bytes - self.ledger.memory_bytes()).max(0),
            gpus: self.monitor.cards().into_iter().take(GPUS_MAX).map(gpu).collect(),
            load: self.machine.load(),
            cpus_total: self.machine.cpus,
            memory_bytes_total: self.machine.memory_bytes,
        }
    }

    fn use_of(&self, card: &Card) -> GpuUse {
        let uuid = &card.device.uuid;
        if self.monitor.standing(card, &self.ledger).state != GpuState::Ready {
            return GpuUse::Unavailable;
        }
        let holders = || self.ledger.holders(uuid);
        if holders().any(|(_, holding)| holding.has_alone(uuid)) {
            return GpuUse::Exclusive;
        }
        if holders().next().is_some() { GpuUse::Shared } else { GpuUse::Free }
    }

    /// When all who have it must have ended; `None` if it is free, or one of them has no limit.
    fn free_ms(&self, card: &Card) -> Option<i64> {
        let holders = self.ledger.holders(&card.device.uuid);
        holders
            .map(|(_, holding)| holding.end_max_ms)
            .reduce(|one, other| Some(one?.max(other?)))?
    }

    /// How the machine is.
    pub(super) fn report(&self, now_ms: i64) -> HostReport {
        let offer = self.offer();
        let cards = self.monitor.cards();
        let running = self.ledger.iter().filter(|(_, holding)| holding.handle.is_some());
        let running = running.take(RUNNING_MAX).map(|(key, holding)| RunningTask {
            task_id: key.task_id.clone(),
            attempt: key.attempt,
            gpus: holding.gpus.clone(),
            usage: Some(self.usage(holding, now_ms)),
            gpu_utilization_percent: holding.meter.percent_now,
            gpu_memory_bytes: holding.meter.memory_now_bytes,
            trespassed_gpus: holding.trespassed.iter().cloned().collect(),
            memory_bytes: whole(holding.live.memory_bytes),
            cpus: holding.live.cpus,
            end_time_max: holding.end_max_ms.map(timestamp),
            ..RunningTask::default()
        });
        HostReport {
            time: Some(timestamp(now_ms)),
            cpus: self.machine.cpus,
            cpus_free: offer.cpus,
            memory_bytes: self.machine.memory_bytes,
            memory_free_bytes: offer.memory_bytes,
            load: offer.load,
            gpus: cards.into_iter().take(GPUS_MAX).map(|card| self.gpu(card)).collect(),
            gpu_provider: self.provider.to_owned(),
            alarms: self.alarms(),
            running: running.collect(),
            takes_nothing: self.trouble.clone().map(cut).unwrap_or_default(),
        }
    }

    fn gpu(&self, card: &Card) -> Gpu {
        let device = &card.device;
        let standing = self.monitor.standing(card, &self.ledger);
        let holders = self.ledger.holders(&device.uuid);
        Gpu {
            uuid: device.uuid.clone(),
            index: device.index,
            model: device.model.clone(),
            memory_bytes: device.memory_bytes,
            memory_used_bytes: device.memory_used_bytes,
            utilization_percent: device.utilization_percent.unwrap_or_default(),
            temperature_celsius: device.temperature_celsius,
            power_watts: device.power_watts,
            state: standing.state.into(),
            reason: standing.reason,
            until: standing.until_ms.map(timestamp),
            task_ids: holders.map(|(key, _)| key.task_id.clone()).collect(),
            processes: card.strangers.known().map(process).collect(),
        }
    }

    /// What an attempt has used so far.
    pub(super) fn usage(&self, holding: &Holding, now_ms: i64) -> AttemptUsage {
        let part = |uuid: &String| match (holding.share_bytes, self.monitor.card(uuid)) {
            (0, _) => 1.0,
            (_, None) => 0.0,
            (share, Some(card)) => share as f64 / card.device.memory_bytes.max(1) as f64,
        };
        let held = holding.gpus.iter().map(part).sum();
        AttemptUsage {
            host: self.host.clone(),
            gpus: holding.gpus.clone(),
            cpu_seconds: holding.live.cpu_time.as_secs_f64(),
            memory_peak_bytes: whole(holding.live.memory_peak_bytes),
            ..holding.meter.usage(now_ms, held)
        }
    }

    fn alarms(&self) -> Vec<String> {
        let blind = self.monitor.blind.iter().map(|why| format!("GPUs cannot be looked at: {why}"));
        let trespasses = self.ledger.iter().flat_map(|(key, holding)| {
            holding.trespassed.iter().map(|uuid| {
                let gpu = self.monitor.name_of(uuid);
                format!("task {} uses {gpu}, which it was not given", key.task_id)
            })
        });
        let broken = self.monitor.cards().into_iter().filter_map(|card| {
            let standing = self.monitor.standing(card, &self.ledger);
            let is_broken = matches!(standing.state, GpuState::Quarantined | GpuState::Broken);
            let is_alarm = is_broken && self.monitor.blind.is_none();
            let name = || self.monitor.name_of(&card.device.uuid);
            is_alarm.then(|| format!("{}: {}", name(), standing.reason))
        });
        let trouble = self.trouble.iter().map(|why| format!("tasks cannot be started: {why}"));
        trouble.chain(blind).chain(trespasses).chain(broken).take(ALARMS_MAX).map(cut).collect()
    }
}

fn whole(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn cut(mut alarm: String) -> String {
    alarm.truncate(alarm.floor_char_boundary(ALARM_BYTES_MAX));
    alarm
}

fn process(known: &Known) -> GpuProcess {
    let sighting = &known.sighting;
    GpuProcess {
        pid: sighting.pid,
        user: sighting.who.user.clone(),
        command: sighting.who.command.clone(),
        memory_bytes: sighting.memory_bytes,
        utilization_percent: sighting.utilization_percent,
        since: Some(timestamp(known.since_ms)),
        treatment: sighting.treatment.into(),
        blocks: known.blocks,
    }
}
