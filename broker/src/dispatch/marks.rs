//! How far a lane has come in each shard.
//!
//! Claiming from the front of the index walks over everything that an open snapshot keeps alive
//! there, so a claim begins behind the last task that was claimed. Tasks that appear further ahead
//! lower the mark; those that nobody told this broker of are found by a full look: when a claim
//! comes back short, for at most a twentieth of the time, and every ten seconds while all claims
//! come back full. So it comes at once while it is cheap, and seldom while a snapshot is held.

use std::{collections::BTreeMap, time::Duration};

use asyncflow_core::{id::ShardId, task::Task};
use asyncflow_store::Mark;
use tokio::time::Instant;

/// Between two full looks at least, when claims come back short: so often what the last one took,
const FULL_LOOK_SHARE: u32 = 20;
/// and not less than this.
const FULL_LOOK_INTERVAL_MIN: Duration = Duration::from_millis(20);
/// Between two full looks at most, however full the claims are and whatever they take: no task
/// waits behind an endless stream of others.
const FULL_LOOK_INTERVAL_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Marks {
    marks: BTreeMap<ShardId, Mark>,
    /// Tasks that became ready since the last claim began.
    lowered: BTreeMap<ShardId, Mark>,
    full_look: Option<FullLook>,
}

/// The last full look; it took no time until it has ended.
#[derive(Clone, Copy, Debug)]
struct FullLook {
    begun: Instant,
    took: Duration,
}

impl Marks {
    /// A task can be claimed: no claim that begins from now on may miss it. Says whether one that
    /// began before may have.
    pub fn lower(&mut self, task: &Task) -> bool {
        let before: Mark = (task.order_time_ms, task.id.key - 1);
        let shard = &task.id.shard;
        let lowest = self.lowered.get(shard).map_or(before, |known| before.min(*known));
        self.lowered.insert(shard.clone(), lowest);
        self.marks.get(shard).is_some_and(|mark| before < *mark)
    }

    /// Whether a task became ready since the last claim began.
    pub fn is_lowered(&self) -> bool {
        !self.lowered.is_empty()
    }

    /// Where the next claim begins; `full` = everywhere from the start.
    pub fn begin(&mut self, full: bool, now: Instant) -> BTreeMap<ShardId, Mark> {
        let lowered = std::mem::take(&mut self.lowered);
        if full {
            self.full_look = Some(FullLook { begun: now, took: Duration::ZERO });
            self.marks.clear();
            return BTreeMap::new();
        }
        for (shard, low) in lowered {
            if let Some(mark) = self.marks.get_mut(&shard) {
                *mark = low.min(*mark);
            }
        }
        self.marks.clone()
    }

    /// The full look that was begun has ended.
    pub fn end_full_look(&mut self, now: Instant) {
        if let Some(look) = &mut self.full_look {
            look.took = now - look.begun;
            metrics::histogram!("asyncflow_full_look_seconds").record(look.took.as_secs_f64());
        }
    }

    /// The claim took everything up to these marks.
    pub fn advance(&mut self, taken: BTreeMap<ShardId, Mark>) {
        self.marks.extend(taken);
    }

    /// Whether a full look is allowed now.
    pub fn may_look_fully(&self, now: Instant) -> bool {
        self.full_look.is_none_or(|last| {
            let pause = (last.took * FULL_LOOK_SHARE).max(FULL_LOOK_INTERVAL_MIN);
            now - last.begun >= pause.min(FULL_LOOK_INTERVAL_MAX)
        })
    }

    /// Whether the next claim has to be a full look. The first one is.
    pub fn must_look_fully(&self, now: Instant) -> bool {
        self.full_look.is_none_or(|last| now - last.begun >= FULL_LOOK_INTERVAL_MAX)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::clock;

    fn shard() -> ShardId {
        "train-1-0000000000001".parse::<asyncflow_core::id::TaskId>().unwrap().shard
    }

    #[test]
    fn a_full_look_comes_regularly_while_claims_are_full() {
        let (mut marks, start) = (Marks::default(), clock::now());
        let mut full_looks = Vec::new();
        // Every claim is full and moves the mark on, for half a minute.
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            let full = marks.must_look_fully(now);
            let after = marks.begin(full, now);
            assert_eq!(after.is_empty(), full, "a full look begins at the start of every shard");
            if full {
                full_looks.push(second);
            }
            marks.advance(BTreeMap::from([(shard(), (second as i64, 0))]));
        }
        assert_eq!(full_looks, [0, 10, 20]);
    }

    #[test]
    fn a_short_claim_looks_fully_the_more_seldom_the_longer_that_takes() {
        let (mut marks, start) = (Marks::default(), clock::now());
        for (took_ms, pause_ms) in [(0, 20), (1, 20), (5, 100), (100, 2_000), (60_000, 10_000)] {
            marks.begin(true, start);
            marks.end_full_look(start + Duration::from_millis(took_ms));
            assert!(!marks.may_look_fully(start + Duration::from_millis(pause_ms - 1)));
            assert!(marks.may_look_fully(start + Duration::from_millis(pause_ms)), "{took_ms}");
        }
    }
}
