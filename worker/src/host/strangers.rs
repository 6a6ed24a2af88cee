//! Processes on a GPU that the worker did not start: which of them keep tasks away, and for how
//! long after their end.

use std::collections::{BTreeMap, VecDeque};

use asyncflow_sdk::v1::GpuProcessTreatment as Treatment;

use crate::gpu::{GpuConfig, Stranger};

/// What of a GPU a stranger may use without keeping tasks away.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub memory_min_bytes: i64,
    pub memory_percent: i64,
    pub utilization_percent: f64,
    pub window_ms: i64,
    pub cool_down_ms: i64,
}

impl From<&GpuConfig> for Limits {
    fn from(config: &GpuConfig) -> Self {
        let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Self {
            memory_min_bytes: whole(config.foreign_memory_min_bytes),
            memory_percent: i64::from(config.foreign_memory_percent),
            utilization_percent: f64::from(config.foreign_utilization_percent),
            window_ms: whole(config.foreign_window_ms),
            cool_down_ms: whole(config.cool_down_ms),
        }
    }
}

impl Limits {
    /// Whoever holds as much of a GPU with so much memory uses it.
    pub fn memory_bytes(&self, memory_total: i64) -> i64 {
        self.memory_min_bytes.max(memory_total / 100 * self.memory_percent)
    }
}

/// A stranger at one look.
#[derive(Clone, Debug, Default)]
pub struct Sighting {
    pub pid: i32,
    pub who: Stranger,
    pub memory_bytes: i64,
    pub utilization_percent: i32,
    /// It is a task's that does not have this GPU: when it ends nobody comes back to it.
    pub is_trespasser: bool,
    /// What was ordered.
    pub treatment: Treatment,
}

/// A stranger that is there.
#[derive(Clone, Debug)]
pub struct Known {
    pub sighting: Sighting,
    /// When it began, or was first seen.
    pub since_ms: i64,
    /// It keeps tasks away.
    pub blocks: bool,
    used: VecDeque<Used>,
}

/// How much was used in a span before `end_ms`.
#[derive(Clone, Copy, Debug)]
struct Used {
    end_ms: i64,
    span_ms: i64,
    percent: i32,
}

/// The strangers on one GPU.
#[derive(Debug, Default)]
pub struct Strangers {
    known: BTreeMap<i32, Known>,
    cooling: Option<Cooling>,
    looked_ms: Option<i64>,
}

/// After a stranger.
#[derive(Clone, Debug)]
pub struct Cooling {
    pub began_ms: i64,
    pub until_ms: i64,
    /// Who it was.
    pub who: String,
}

impl Strangers {
    /// Takes in who is there now.
    pub fn observe(&mut self, now_ms: i64, seen: Vec<Sighting>, total: i64, limits: &Limits) {
        let span_ms = self.looked_ms.map_or(0, |looked| (now_ms - looked).max(0));
        self.looked_ms = Some(now_ms);
        let mut before = std::mem::take(&mut self.known);
        for sighting in seen {
            let mut known = match before.remove(&sighting.pid) {
                // The number may have been given out again.
                Some(known) if known.sighting.who == sighting.who => Known { sighting, ..known },
                _ => Known::new(now_ms, sighting),
            };
            let was_blocking = known.blocks;
            known.count(now_ms, span_ms, limits);
            known.blocks = known.is_in_the_way(total, limits);
            if was_blocking && !known.blocks {
                self.cool_down(now_ms, &known, limits);
            }
            self.known.insert(known.sighting.pid, known);
        }
        for gone in before.into_values().filter(|known| known.blocks) {
            self.cool_down(now_ms, &gone, limits);
        }
        self.cooling.take_if(|cooling| cooling.until_ms <= now_ms);
    }

    /// Who works by hand starts again and again. Not so whose process an operator has spoken about.
    fn cool_down(&mut self, now_ms: i64, after: &Known, limits: &Limits) {
        let is_agreed = after.sighting.treatment != Treatment::Unspecified;
        if is_agreed || after.sighting.is_trespasser || limits.cool_down_ms == 0 {
            return;
        }
        let until_ms = now_ms + limits.cool_down_ms;
        self.cooling = Some(Cooling { began_ms: now_ms, until_ms, who: after.in_words() });
    }

    /// An operator says that the GPU may be used.
    pub fn forgive(&mut self, time_ms: i64) {
        self.cooling.take_if(|cooling| cooling.began_ms <= time_ms);
    }

    /// Those who are there.
    pub fn known(&self) -> impl Iterator<Item = &Known> {
        self.known.values()
    }

    /// The one who keeps tasks away and holds the most.
    pub fn blocking(&self) -> Option<&Known> {
        let blocking = self.known.values().filter(|known| known.blocks);
        blocking.max_by_key(|known| known.sighting.memory_bytes)
    }

    /// The time after one of them, if it is not over.
    pub fn cooling(&self) -> Option<&Cooling> {
        self.cooling.as_ref()
    }

    /// What all of them hold.
    pub fn memory_bytes(&self) -> i64 {
        self.known.values().map(|known| known.sighting.memory_bytes).sum()
    }
}

impl Known {
    fn new(now_ms: i64, sighting: Sighting) -> Self {
        let since_ms = sighting.who.start_ms.unwrap_or(now_ms).min(now_ms);
        Self { sighting, since_ms, blocks: false, used: VecDeque::new() }
    }

    fn count(&mut self, now_ms: i64, span_ms: i64, limits: &Limits) {
        let percent = self.sighting.utilization_percent;
        self.used.push_back(Used { end_ms: now_ms, span_ms, percent });
        while self.used.front().is_some_and(|used| used.end_ms <= now_ms - limits.window_ms) {
            self.used.pop_front();
        }
    }

    /// Mean over the window; what was before it was seen counts as nothing.
    fn mean_percent(&self, limits: &Limits) -> f64 {
        let used = self.used.iter().map(|used| used.span_ms as f64 * f64::from(used.percent));
        used.sum::<f64>() / limits.window_ms.max(1) as f64
    }

    fn is_in_the_way(&self, total: i64, limits: &Limits) -> bool {
        match self.sighting.treatment {
            Treatment::Ignored => false,
            Treatment::Adopted => true,
            Treatment::Unspecified => {
                self.sighting.memory_bytes >= limits.memory_bytes(total)
                    || self.mean_percent(limits) >= limits.utilization_percent
            }
        }
    }

    /// For people.
    pub fn in_words(&self) -> String {
        let Sighting { pid, who, memory_bytes, .. } = &self.sighting;
        let mib = memory_bytes / (1 << 20);
        format!("pid {pid} of {} ({mib} MiB, {})", who.user, who.command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;
    const LIMITS: Limits = Limits {
        memory_min_bytes: GIB,
        memory_percent: 5,
        utilization_percent: 5.0,
        window_ms: 60_000,
        cool_down_ms: 300_000,
    };

    fn of_bob(memory_bytes: i64, utilization_percent: i32) -> Sighting {
        let who = Stranger { user: "bob".to_owned(), ..Stranger::default() };
        Sighting { pid: 42, who, memory_bytes, utilization_percent, ..Sighting::default() }
    }

    fn look(strangers: &mut Strangers, now_ms: i64, seen: Vec<Sighting>) -> bool {
        strangers.observe(now_ms, seen, 24 * GIB, &LIMITS);
        strangers.blocking().is_some()
    }

    #[test]
    fn memory_counts_from_the_larger_of_both_limits() {
        assert_eq!(LIMITS.memory_bytes(10 * GIB), GIB);
        assert_eq!(LIMITS.memory_bytes(100 * GIB), 100 * GIB / 100 * 5);
        let mut strangers = Strangers::default();
        assert!(!look(&mut strangers, 0, vec![of_bob(642 << 20, 0)]));
        assert_eq!(strangers.memory_bytes(), 642 << 20);
        assert!(look(&mut strangers, 1, vec![of_bob(20 * GIB, 0)]));
        let known = strangers.blocking().map(Known::in_words);
        assert_eq!(known.as_deref(), Some("pid 42 of bob (20480 MiB, )"));
    }

    #[test]
    fn work_counts_over_a_minute() {
        let mut strangers = Strangers::default();
        assert!(!look(&mut strangers, 0, vec![of_bob(GIB / 2, 100)]), "a first look is no span");
        assert!(!look(&mut strangers, 2_000, vec![of_bob(GIB / 2, 100)]), "2 s of 60");
        assert!(look(&mut strangers, 4_000, vec![of_bob(GIB / 2, 100)]), "4 s of 60");
        for now_ms in (6_000..=62_000).step_by(2_000) {
            look(&mut strangers, now_ms, vec![of_bob(GIB / 2, 0)]);
        }
        assert!(!look(&mut strangers, 64_000, vec![of_bob(GIB / 2, 0)]), "it rests");
    }

    #[test]
    fn the_gpu_cools_down_after_it_and_not_after_one_that_was_no_matter() {
        let mut strangers = Strangers::default();
        look(&mut strangers, 0, vec![of_bob(GIB / 2, 0)]);
        look(&mut strangers, 10, vec![]);
        assert!(strangers.cooling().is_none());
        look(&mut strangers, 20, vec![of_bob(2 * GIB, 0)]);
        look(&mut strangers, 30, vec![]);
        assert_eq!(strangers.cooling().map(|cooling| cooling.until_ms), Some(300_030));
        look(&mut strangers, 300_029, vec![]);
        assert!(strangers.cooling().is_some());
        look(&mut strangers, 300_030, vec![]);
        assert!(strangers.cooling().is_none());
    }

    #[test]
    fn what_an_operator_says_of_a_process_holds() {
        let mut strangers = Strangers::default();
        let large = |treatment| Sighting { treatment, ..of_bob(20 * GIB, 90) };
        assert!(look(&mut strangers, 0, vec![large(Treatment::Unspecified)]));
        assert!(!look(&mut strangers, 10, vec![large(Treatment::Ignored)]));
        assert!(strangers.cooling().is_none(), "it was agreed upon");
        assert_eq!(strangers.memory_bytes(), 20 * GIB, "its memory is still its own");
        let small = Sighting { treatment: Treatment::Adopted, ..of_bob(1, 0) };
        assert!(look(&mut strangers, 20, vec![small]));
        look(&mut strangers, 30, vec![]);
        assert!(strangers.cooling().is_none());
    }

    #[test]
    fn a_cool_down_ends_when_an_operator_says_so_later() {
        let mut strangers = Strangers::default();
        look(&mut strangers, 10, vec![of_bob(2 * GIB, 0)]);
        look(&mut strangers, 20, vec![]);
        strangers.forgive(19);
        assert!(strangers.cooling().is_some());
        strangers.forgive(20);
        assert!(strangers.cooling().is_none());
    }
}
