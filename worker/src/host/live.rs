//! What attempts use of main memory and cores now, measured from outside again and again: by their
//! control groups, else by looking at all their processes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{Host, State, container::Inside};
use crate::{clock, gpu::Attempt, process::Load, process::load_of_tree, shim::ShimRecord};

/// An engine that does not know a container is asked again after so many measurements.
const LOOKS_PAUSE: u32 = 5;

/// Of one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Live {
    /// Held now.
    pub memory_bytes: u64,
    /// The most that was seen.
    pub memory_peak_bytes: u64,
    /// Cores that were kept busy since the measurement before.
    pub cpus: f64,
    /// Time on cores so far.
    pub cpu_time: Duration,
}

/// All that are measured, and where.
type Targets = Vec<(Attempt, PathBuf)>;

/// Knows the measurements before.
#[derive(Debug, Default)]
struct Gauges(BTreeMap<Attempt, Gauge>);

#[derive(Debug, Default)]
struct Gauge {
    inside: Option<Inside>,
    looks_to_wait: u32,
    last: Option<(Duration, Instant)>,
    live: Live,
}

impl Host {
    /// Measures what runs until it is dropped; sleeps while nothing does.
    pub(super) async fn measure(&self) {
        let mut gauges = Gauges::default();
        loop {
            let targets = self.with(|state| state.targets());
            if targets.is_empty() {
                gauges = Gauges::default();
                self.runs.notified().await;
                continue;
            }
            let measuring = tokio::task::spawn_blocking(move || {
                let measured = gauges.measure(targets);
                (gauges, measured)
            });
            match measuring.await {
                Ok((back, measured)) => {
                    gauges = back;
                    self.with(|state| state.take_measured(measured));
                }
                Err(error) => {
                    tracing::warn!(%error, "what attempts use was not measured");
                    gauges = Gauges::default();
                }
            }
            tokio::time::sleep(self.interval).await;
        }
    }
}

impl State {
    fn targets(&self) -> Targets {
        let dirs = self.ledger.iter();
        dirs.filter_map(|(key, holding)| Some((key.clone(), holding.dir.clone()?))).collect()
    }

    fn take_measured(&mut self, measured: Vec<(Attempt, Live)>) {
        for (key, live) in measured {
            if let Some(holding) = self.ledger.get_mut(&key) {
                holding.live = live;
            }
        }
    }
}

impl Gauges {
    /// Blocks, usually for some milliseconds.
    fn measure(&mut self, targets: Targets) -> Vec<(Attempt, Live)> {
        let mut before = std::mem::take(&mut self.0);
        let mut measured = Vec::with_capacity(targets.len());
        for (key, dir) in targets {
            let mut gauge = before.remove(&key).unwrap_or_default();
            let load = gauge.load(&key, &dir);
            gauge.take_in(load, clock::now());
            measured.push((key.clone(), gauge.live));
            self.0.insert(key, gauge);
        }
        measured
    }
}

impl Gauge {
    /// `None` while nothing of it runs.
    fn load(&mut self, key: &Attempt, dir: &Path) -> Option<Load> {
        let record = ShimRecord::read(dir).filter(|record| record.shim.is_alive())?;
        if let Some(end_command) = &record.end_command {
            let was_inside = self.inside.is_some();
            let load = self.load_inside(|| Inside::find(key, end_command));
            if was_inside != self.inside.is_some() {
                // The engine's client before, the program now.
                self.last = None;
            }
            if load.is_some() {
                return load;
            }
        }
        let of_group = record.leaf.as_ref().and_then(|leaf| leaf.load());
        Some(of_group.unwrap_or_else(|| load_of_tree(record.shim.pid, false)))
    }

    fn load_inside(&mut self, find: impl FnOnce() -> Option<Inside>) -> Option<Load> {
        if self.inside.is_none() {
            if self.looks_to_wait > 0 {
                self.looks_to_wait -= 1;
                return None;
            }
            self.looks_to_wait = LOOKS_PAUSE;
            self.inside = find();
        }
        let load = self.inside.as_ref()?.load();
        if load.is_none() {
            self.inside = None;
        }
        load
    }

    fn take_in(&mut self, load: Option<Load>, now: Instant) {
        let Some(load) = load else {
            (self.live.memory_bytes, self.live.cpus, self.last) = (0, 0.0, None);
            return;
        };
        self.live.cpus = self.last.map_or(0.0, |(cpu_time, at)| {
            let passed = now.saturating_duration_since(at).as_secs_f64();
            let worked = load.cpu_time.saturating_sub(cpu_time).as_secs_f64();
            if passed > 0.0 { worked / passed } else { 0.0 }
        });
        self.last = Some((load.cpu_time, now));
        self.live.cpu_time = self.live.cpu_time.max(load.cpu_time);
        self.live.memory_bytes = load.memory_bytes;
        self.live.memory_peak_bytes = self.live.memory_peak_bytes.max(load.memory_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_the_time_on_them_by_the_time_that_passed() {
        let begin = clock::now();
        let mut gauge = Gauge::default();
        let mut at = |seconds: u64, cpu_ms: u64, memory_bytes: u64| {
            let load = Load { memory_bytes, cpu_time: Duration::from_millis(cpu_ms) };
            gauge.take_in(Some(load), begin + Duration::from_secs(seconds));
            gauge.live
        };
        assert_eq!(at(0, 500, 7).cpus.to_string(), "0", "there is nothing to compare with");
        let busy = at(2, 3_500, 9);
        assert_eq!((busy.cpus.to_string().as_str(), busy.memory_bytes), ("1.5", 9));
        // A child has ended that nobody waited for: its time is counted no more.
        let less = at(4, 3_000, 3);
        assert_eq!(less.cpus.to_string(), "0");
        assert_eq!((less.memory_bytes, less.memory_peak_bytes), (3, 9));
        assert_eq!(less.cpu_time, Duration::from_millis(3_500));
        gauge.take_in(None, begin + Duration::from_secs(6));
        assert_eq!((gauge.live.memory_bytes, gauge.live.memory_peak_bytes), (0, 9));
    }
}
