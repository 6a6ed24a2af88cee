//! Whether a task may begin now. What it was placed on was free when the broker was told; since
//! then somebody may have started a program by hand.

use std::{path::Path, sync::Arc, time::Duration};

use asyncflow_sdk::{
    v1::{FailureReason, GpuOffer, GpuUse, Placement, Resources},
    worker::{AttemptHandle, Outcome},
};

use super::{Host, environment, ledger::Holding, usage::Meter};
use crate::{clock, gpu::Attempt};

/// A task that found its place taken does not come back at once: it would ask in a circle.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What an attempt has of the machine, until this is dropped.
pub struct Allotment {
    host: Arc<Host>,
    key: Attempt,
    environment: Vec<(String, String)>,
}

impl Host {
    /// Looks again, and lets the attempt begin.
    ///
    /// # Errors
    /// The outcome of one that may not: it goes back, and nothing is counted against it.
    pub async fn admit(self: &Arc<Self>, attempt: &AttemptHandle) -> Result<Allotment, Outcome> {
        let key = Attempt::from(&attempt.lease());
        let needs_look = self.with(|state| {
            if state.ledger.get(&key).is_none() {
                state.take(key.clone(), attempt.leased(), clock::steady_ms());
            }
            state.ledger.get(&key).is_some_and(|holding| !holding.gpus.is_empty())
        });
        if needs_look {
            self.look().await;
        }
        let may_begin = self.with(|state| {
            state.monitor.may_begin(&key, &state.ledger)?;
            state.begin(&key, attempt, true);
            Ok::<_, String>(())
        });
        match may_begin {
            Ok(()) => Ok(self.allotment(key)),
            Err(why) => {
                tracing::info!(task_id = key.task_id, why, "its place is taken, giving it back");
                self.free(&key);
                Err(not_started(&why))
            }
        }
    }

    /// Goes on with an attempt that [`Host::open`] was told of: whatever was seen since, it is
    /// there.
    pub fn readopt(self: &Arc<Self>, attempt: &AttemptHandle) -> Allotment {
        let key = Attempt::from(&attempt.lease());
        self.with(|state| state.begin(&key, attempt, false));
        self.allotment(key)
    }

    fn allotment(self: &Arc<Self>, key: Attempt) -> Allotment {
        let environment = self.with(|state| {
            let holding = state.ledger.get(&key);
            let variables = |holding| {
                environment::variables(holding, &state.monitor, state.vendor, self.visible_as)
            };
            holding.map(variables).unwrap_or_default()
        });
        self.tell_changes();
        Allotment { host: self.clone(), key, environment }
    }
}

impl super::State {
    fn begin(&mut self, key: &Attempt, attempt: &AttemptHandle, anew: bool) {
        let Some(holding) = self.ledger.get_mut(key) else { return };
        let now_ms = clock::steady_ms();
        holding.handle = Some(attempt.clone());
        holding.busy_ms = now_ms;
        if anew {
            holding.meter = Meter::begun(now_ms);
        }
    }
}

impl Allotment {
    /// Variables that show the program what it has. They override its own.
    pub fn environment(&self) -> impl Iterator<Item = (String, String)> {
        self.environment.iter().cloned()
    }

    /// The attempt runs, and its shim has written down in this directory who that is.
    pub fn runs_in(&self, dir: &Path) {
        self.host.with(|state| {
            if let Some(holding) = state.ledger.get_mut(&self.key) {
                holding.dir = Some(dir.to_owned());
            }
        });
        self.host.runs.notify_one();
    }

    /// Tells what the attempt has used, and a failure with the faults of its GPUs before it.
    pub fn conclude(&self, attempt: &AttemptHandle, mut outcome: Outcome) -> Outcome {
        let (used, faults, in_container) = self.host.with(|state| {
            let holding = state.ledger.get(&self.key);
            let told = |holding: &Holding| {
                let used = state.usage(holding, clock::steady_ms());
                (used, holding.faults.clone(), holding.in_container)
            };
            holding.map(told).unwrap_or_default()
        });
        attempt.measure(|usage| {
            usage.host = used.host;
            usage.gpus = used.gpus;
            usage.gpu_seconds = used.gpu_seconds;
            usage.gpu_utilization_percent = used.gpu_utilization_percent;
            usage.gpu_memory_peak_bytes = used.gpu_memory_peak_bytes;
            if in_container {
                // Its shim has seen no more than the engine's client.
                usage.cpu_seconds = usage.cpu_seconds.max(used.cpu_seconds);
                usage.memory_peak_bytes = usage.memory_peak_bytes.max(used.memory_peak_bytes);
            }
        });
        if let Outcome::Failed { message, .. } = &mut outcome
            && !faults.is_empty()
        {
            *message = format!("{message}; before that, {}", faults.join("; "));
        }
        outcome
    }
}

impl Drop for Allotment {
    fn drop(&mut self) {
        self.host.free(&self.key);
    }
}

fn not_started(why: &str) -> Outcome {
    let mut outcome = Outcome::released(FailureReason::NotStarted, why);
    if let Outcome::Released { delay, .. } = &mut outcome {
        *delay = Some(RETRY_DELAY);
    }
    outcome
}

/// A place among what is offered; `None` if there is none. A share goes where the least is left.
pub(super) fn choose(needs: &Resources, gpus: &[GpuOffer]) -> Option<Placement> {
    let count = usize::try_from(needs.gpus).unwrap_or_default();
    let share = needs.gpu_memory_bytes.max(0);
    if count == 0 && share == 0 {
        return Some(Placement::default());
    }
    let model = needs.gpu_model.to_ascii_lowercase();
    let mut fitting: Vec<_> = gpus
        .iter()
        .filter(|gpu| gpu.model.to_ascii_lowercase().contains(&model))
        .filter(|gpu| gpu.memory_bytes >= needs.gpu_memory_min_bytes)
        .collect();
    if count > 0 {
        fitting.retain(|gpu| gpu.r#use() == GpuUse::Free);
        let gpus: Vec<_> = fitting.iter().take(count).map(|gpu| gpu.uuid.clone()).collect();
        return (gpus.len() == count).then_some(Placement { gpus, gpu_memory_bytes: 0 });
    }
    fitting.retain(|gpu| matches!(gpu.r#use(), GpuUse::Free | GpuUse::Shared));
    fitting.retain(|gpu| gpu.memory_free_bytes >= share);
    let best = fitting.into_iter().min_by_key(|gpu| gpu.memory_free_bytes)?;
    Some(Placement { gpus: vec![best.uuid.clone()], gpu_memory_bytes: share })
}
