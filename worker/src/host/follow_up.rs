//! What is done about what was seen: lines in logs, figures, stops.

use std::time::Duration;

use asyncflow_sdk::worker::{AttemptHandle, StopNote, StopReason};

use super::{
    State,
    audit::{Seen, Trespass, is_busy},
    faults::meaning,
    monitor::Finding,
    usage::Reading,
};

/// The queue of a log is full while no broker can be reached; nobody waits for it.
const LOG_WAIT_MAX: Duration = Duration::from_millis(100);
/// Faults of one attempt that are remembered.
const FAULTS_MAX: usize = 4;

/// Something to be said to an attempt, or to be done with it.
pub(super) struct Action {
    attempt: AttemptHandle,
    line: String,
    stop: Option<(StopReason, StopNote)>,
}

impl Action {
    pub(super) async fn carry_out(self) {
        if !self.line.is_empty() {
            let logging = self.attempt.log_system(&self.line);
            let _ = tokio::time::timeout(LOG_WAIT_MAX, logging).await;
        }
        if let Some((reason, note)) = self.stop {
            self.attempt.demand_stop(reason, note);
        }
    }
}

impl State {
    /// What attempts use, as far as it can be seen.
    pub(super) fn read_meters(&mut self, now_ms: i64, seen: &[Seen]) {
        for (key, holding) in self.ledger.iter_mut() {
            let own = seen.iter().filter(|seen| holding.has(&seen.device.uuid));
            let memory_on = |seen: &Seen| {
                let known = seen.own.get(key).copied().unwrap_or_default();
                let alone = holding.share_bytes == 0;
                if known == 0 && alone { seen.device.memory_used_bytes } else { known }
            };
            let (mut percents, mut memory) = (Vec::new(), Vec::new());
            let mut seen_gpus = 0;
            let mut works = false;
            for seen in own {
                seen_gpus += 1;
                percents.extend(seen.device.utilization_percent);
                memory.push(memory_on(seen));
                works |= is_busy(&seen.device);
            }
            // One that is not to be seen may work.
            works |= seen_gpus < holding.gpus.len();
            let count = i32::try_from(percents.len()).unwrap_or(i32::MAX);
            let reading = Reading {
                percent: percents.iter().sum::<i32>().checked_div(count),
                memory_bytes: memory.iter().sum(),
                memory_most_bytes: memory.iter().copied().max().unwrap_or_default(),
            };
            holding.meter.read(now_ms, reading);
            if works {
                holding.busy_ms = now_ms;
            }
        }
    }

    pub(super) fn follow_up(
        &mut self,
        now_ms: i64,
        findings: Vec<Finding>,
        trespasses: Vec<Trespass>,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for finding in findings {
            self.follow_fault(&finding, &mut actions);
        }
        for trespass in trespasses {
            actions.extend(self.follow_trespass(trespass));
        }
        for (_, holding) in self.ledger.iter() {
            let Some(idle_max_ms) = holding.idle_max_ms() else { continue };
            let is_idle = !holding.gpus.is_empty() && now_ms - holding.busy_ms >= idle_max_ms;
            if let (true, Some(attempt)) = (is_idle, holding.handle.clone()) {
                let stop = Some((StopReason::GpuIdle, StopNote::default()));
                actions.push(Action { attempt, line: String::new(), stop });
            }
        }
        actions
    }

    fn follow_fault(&mut self, finding: &Finding, actions: &mut Vec<Action>) {
        let (uuid, xid, is_severe) = match finding {
            Finding::Quarantined { uuid, xid } => (uuid, *xid, true),
            Finding::Misused { uuid, xid } => (uuid, *xid, false),
            Finding::Noted { uuid, xid } => {
                tracing::warn!(uuid, xid, meaning = meaning(*xid), "a GPU has shown a fault");
                return;
            }
        };
        let what = format!("{} showed XID {xid} ({})", self.monitor.name_of(uuid), meaning(xid));
        tracing::warn!(uuid, xid, is_severe, "{what}");
        for (_, holding) in self.ledger.iter_mut().filter(|(_, holding)| holding.has(uuid)) {
            if holding.faults.len() < FAULTS_MAX {
                holding.faults.push(what.clone());
            }
            let Some(attempt) = holding.handle.clone() else { continue };
            let note = StopNote { message: what.clone(), elsewhere: true, context: None };
            let stop = is_severe.then_some((StopReason::GpuFault, note));
            actions.push(Action { attempt, line: what.clone(), stop });
        }
    }

    /// Told once for each GPU.
    fn follow_trespass(&mut self, trespass: Trespass) -> Option<Action> {
        let name = self.monitor.name_of(&trespass.uuid);
        let holding = self.ledger.get_mut(&trespass.attempt)?;
        if !holding.trespassed.insert(trespass.uuid) {
            return None;
        }
        let line = format!("it uses {name}, which it was not given");
        let task_id = &trespass.attempt.task_id;
        tracing::warn!(task_id, attempt = trespass.attempt.attempt, "{line}");
        let note = StopNote { message: name, ..StopNote::default() };
        let stop = holding.needs.stop_on_trespass.then_some((StopReason::Trespassed, note));
        Some(Action { attempt: holding.handle.clone()?, line, stop })
    }
}
