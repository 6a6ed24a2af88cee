//! How busy GPUs were while `top` ran.

use crate::fleet;
use asyncflow_proto::v1::{Gpu, Host};
use std::collections::{BTreeMap, VecDeque};

/// So many samples are kept of each GPU, and shown.
pub const SAMPLES: usize = 20;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last samples of all GPUs, by UUID.
#[derive(Debug, Default)]
pub struct History {
    trails: BTreeMap<String, Trail>,
}

#[derive(Debug, Default)]
struct Trail {
    utilization: VecDeque<i64>,
    memory: VecDeque<i64>,
}

impl History {
    /// Adds a look at the hosts; GPUs that are not told of any more are forgotten.
    pub fn note(&mut self, hosts: &[Host]) {
        let mut before = std::mem::take(&mut self.trails);
        for gpu in hosts.iter().flat_map(fleet::gpus) {
            let mut trail = before.remove(&gpu.uuid).unwrap_or_default();
            push(&mut trail.utilization, i64::from(gpu.utilization_percent));
            push(&mut trail.memory, memory_percent(gpu));
            self.trails.insert(gpu.uuid.clone(), trail);
        }
    }

    /// Its utilisation, the newest at the right.
    pub fn utilization(&self, uuid: &str) -> String {
        self.trails.get(uuid).map(|trail| spark(&trail.utilization)).unwrap_or_default()
    }

    /// Its memory in use, the newest at the right.
    pub fn memory(&self, uuid: &str) -> String {
        self.trails.get(uuid).map(|trail| spark(&trail.memory)).unwrap_or_default()
    }
}

/// How much of its memory is in use, 0 to 100.
pub fn memory_percent(gpu: &Gpu) -> i64 {
    if gpu.memory_bytes <= 0 {
        return 0;
    }
    (gpu.memory_used_bytes as f64 / gpu.memory_bytes as f64 * 100.0).round().clamp(0.0, 100.0)
        as i64
}

fn push(samples: &mut VecDeque<i64>, percent: i64) {
    if samples.len() == SAMPLES {
        samples.pop_front();
    }
    samples.push_back(percent.clamp(0, 100));
}

/// One bar for each sample; none at all is the lowest.
fn spark(samples: &VecDeque<i64>) -> String {
    let bar = |percent: &i64| BARS[usize::try_from(percent * 7 / 100).unwrap_or(0).min(7)];
    let bars: String = samples.iter().map(bar).collect();
    format!("{bars:>SAMPLES$}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::fleet::tests::host;

    fn look(percent: i32) -> Vec<Host> {
        let mut host = host("w", "anna", &["GPU-a"]);
        let gpu = &mut host.report.as_mut().unwrap().gpus[0];
        gpu.utilization_percent = percent;
        gpu.memory_bytes = 100;
        gpu.memory_used_bytes = 50;
        vec![host]
    }

    #[test]
    fn the_newest_samples_stand_at_the_right() {
        let mut history = History::default();
        for percent in [0, 50, 100] {
            history.note(&look(percent));
        }
        assert_eq!(history.utilization("GPU-a").trim_start(), "▁▄█");
        assert_eq!(history.memory("GPU-a").chars().count(), SAMPLES);
        for _ in 0..SAMPLES {
            history.note(&look(100));
        }
        assert_eq!(history.utilization("GPU-a"), "█".repeat(SAMPLES));
    }

    #[test]
    fn a_gpu_that_is_gone_is_forgotten() {
        let mut history = History::default();
        history.note(&look(10));
        history.note(&[]);
        assert_eq!(history.utilization("GPU-a"), "");
        assert!(history.trails.is_empty());
    }

    #[test]
    fn figures_out_of_bounds_break_nothing() {
        let mut history = History::default();
        history.note(&look(-5));
        history.note(&look(1_000));
        assert_eq!(history.utilization("GPU-a").trim_start(), "▁█");
        assert_eq!(memory_percent(&Gpu::default()), 0);
        assert_eq!(
            memory_percent(&Gpu { memory_bytes: 1, memory_used_bytes: 9, ..Gpu::default() }),
            100
        );
    }
}
