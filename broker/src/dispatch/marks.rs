//! How far a lane has come in each shard.
//!
//! Claiming from the front of the index walks over everything that an open snapshot keeps alive
//! there, so a claim begins behind the last task that was claimed. Tasks that appear further ahead
//! lower the mark. Those that nobody told this broker of are found by looking back, beside the
//! claims: when one comes back short, for at most a twentieth of the time unless it takes half a
//! second and more, and every ten seconds while all come back full. So it comes at once while it is
//! cheap, and seldom while a snapshot is held.

use std::{collections::BTreeMap, time::Duration};

use asyncflow_core::{id::ShardId, task::Task};
use asyncflow_store::Mark;
use tokio::time::Instant;

/// Between two looks back at least, when claims come back short: so often what the last one took,
const LOOK_BACK_SHARE: u32 = 20;
/// and not less than this.
const LOOK_BACK_INTERVAL_MIN: Duration = Duration::from_millis(20);
/// Between two looks back at most, however full the claims are and whatever they take: no task
/// waits behind an endless stream of others.
const LOOK_BACK_INTERVAL_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Marks {
    marks: BTreeMap<ShardId, Mark>,
    /// Tasks that became ready since the last claim began.
    lowered: BTreeMap<ShardId, Mark>,
    /// The claims whose tasks were found and are not written yet: what stands before their first
    /// task of a shard, and their last one.
    pending: BTreeMap<u64, BTreeMap<ShardId, (Mark, Mark)>>,
    last_claim: u64,
    look_back: Option<LookBack>,
}

/// The last look back; it took no time until it has ended.
#[derive(Clone, Copy, Debug)]
struct LookBack {
    begun: Instant,
    took: Option<Duration>,
}

impl Marks {
    /// A task can be claimed: no claim that begins from now on may miss it. Says whether one that
    /// began before may have.
    pub fn lower(&mut self, task: &Task) -> bool {
        self.lower_to(&task.id.shard, (task.order_time_ms, task.id.key - 1))
    }

    /// Behind this mark something can be claimed, as far as is known.
    pub fn lower_to(&mut self, shard: &ShardId, before: Mark) -> bool {
        let lowest = self.lowered.get(shard).map_or(before, |known| before.min(*known));
        self.lowered.insert(shard.clone(), lowest);
        self.marks.get(shard).is_some_and(|mark| before < *mark)
    }

    /// Whether a task became ready since the last claim began.
    pub fn is_lowered(&self) -> bool {
        !self.lowered.is_empty()
    }

    /// Where the next claim begins; in a shard without a mark, at its start.
    pub fn begin(&mut self) -> BTreeMap<ShardId, Mark> {
        for (shard, low) in std::mem::take(&mut self.lowered) {
            if let Some(mark) = self.marks.get_mut(&shard) {
                *mark = low.min(*mark);
            }
        }
        self.marks.clone()
    }

    /// The next claim begins at the start of each shard.
    pub fn forget(&mut self) {
        self.marks.clear();
    }

    /// The claim took everything up to these marks.
    pub fn advance(&mut self, taken: BTreeMap<ShardId, Mark>) {
        self.marks.extend(taken);
    }

    /// A claim has found tasks from behind `starts` up to `taken`, and is going to write them:
    /// nobody looks for them until [`Self::end_claim`]. As [`Self::advance`] otherwise.
    pub fn begin_claim(
        &mut self,
        starts: BTreeMap<ShardId, Mark>,
        taken: BTreeMap<ShardId, Mark>,
    ) -> u64 {
        let range = |(shard, start)| {
            let end = *taken.get(&shard)?;
            Some((shard, (start, end)))
        };
        self.last_claim += 1;
        self.pending.insert(self.last_claim, starts.into_iter().filter_map(range).collect());
        self.advance(taken);
        self.last_claim
    }

    pub fn end_claim(&mut self, claim: u64) {
        self.pending.remove(&claim);
    }

    /// Whether a claim is writing tasks.
    pub fn has_pending(&self) -> bool {
        self.pending.values().any(|ranges| !ranges.is_empty())
    }

    /// Whether a claim that begins now would find tasks which another one is writing.
    pub fn meet_a_claim(&self) -> bool {
        let first = |shard: &ShardId| {
            let marks = [self.marks.get(shard).copied(), self.lowered.get(shard).copied()];
            marks.into_iter().flatten().min()
        };
        let mut ranges = self.pending.values().flatten();
        ranges.any(|(shard, (_, end))| first(shard).is_none_or(|first| first < *end))
    }

    /// The first of the tasks of a shard that are being claimed is behind this mark.
    fn first_pending(&self, shard: &ShardId) -> Option<Mark> {
        self.pending.values().filter_map(|ranges| Some(ranges.get(shard)?.0)).min()
    }

    /// Begins to look for tasks ahead of these marks, and of those that are being claimed.
    pub fn begin_look_back(&mut self, now: Instant) -> BTreeMap<ShardId, Mark> {
        self.look_back = Some(LookBack { begun: now, took: None });
        let known = self.marks.iter().map(|(shard, mark)| {
            let first = self.first_pending(shard).unwrap_or(*mark);
            (shard.clone(), first.min(*mark))
        });
        known.collect()
    }

    /// The look back that was begun has ended, and found something behind these marks. What is
    /// being claimed by now is left out.
    pub fn end_look_back(
        &mut self,
        mut found: BTreeMap<ShardId, Mark>,
        now: Instant,
    ) -> BTreeMap<ShardId, Mark> {
        found.retain(|shard, (order_ms, _)| {
            self.first_pending(shard).is_none_or(|first| (*order_ms + 1, i64::MAX) < first)
        });
        if let Some(last) = &mut self.look_back {
            let took = now - last.begun;
            last.took = Some(took);
            metrics::histogram!("asyncflow_look_back_seconds").record(took.as_secs_f64());
        }
        found
    }

    /// When one may be begun after a claim that came back short; `None` while one is under way.
    pub fn next_look_back(&self, now: Instant) -> Option<Instant> {
        let Some(last) = self.look_back else { return Some(now) };
        let pause = (last.took? * LOOK_BACK_SHARE).max(LOOK_BACK_INTERVAL_MIN);
        Some(last.begun + pause.min(LOOK_BACK_INTERVAL_MAX))
    }

    /// Whether one has to be begun, however full the claims are.
    pub fn must_look_back(&self, now: Instant) -> bool {
        self.look_back
            .is_none_or(|last| last.took.is_some() && now - last.begun >= LOOK_BACK_INTERVAL_MAX)
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
    fn a_look_back_comes_regularly_while_claims_are_full() {
        let (mut marks, start) = (Marks::default(), clock::now());
        let mut looks = Vec::new();
        // Every claim is full and moves the mark on, for half a minute.
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            marks.begin();
            marks.advance(BTreeMap::from([(shard(), (second as i64, 0))]));
            if marks.must_look_back(now) {
                assert_eq!(marks.begin_look_back(now)[&shard()], (second as i64, 0));
                assert!(!marks.must_look_back(now + LOOK_BACK_INTERVAL_MAX), "one at a time");
                marks.end_look_back(BTreeMap::new(), now);
                looks.push(second);
            }
        }
        assert_eq!(looks, [0, 10, 20]);
    }

    #[test]
    fn short_claims_look_back_the_more_seldom_the_longer_that_takes() {
        let (mut marks, start) = (Marks::default(), clock::now());
        assert_eq!(marks.next_look_back(start), Some(start));
        for (took_ms, pause_ms) in [(0, 20), (1, 20), (5, 100), (100, 2_000), (60_000, 10_000)] {
            marks.begin_look_back(start);
            assert_eq!(marks.next_look_back(start), None, "one is under way");
            marks.end_look_back(BTreeMap::new(), start + Duration::from_millis(took_ms));
            let next = start + Duration::from_millis(pause_ms);
            assert_eq!(marks.next_look_back(start), Some(next), "{took_ms}");
        }
    }

    #[test]
    fn a_mark_is_lowered_by_what_appears_ahead_of_it() {
        let mut marks = Marks::default();
        marks.advance(BTreeMap::from([(shard(), (100, 7))]));
        assert!(!marks.lower_to(&shard(), (100, 8)), "behind the mark");
        assert!(marks.lower_to(&shard(), (50, 0)) && marks.is_lowered());
        assert_eq!(marks.begin()[&shard()], (50, 0));
        assert!(!marks.is_lowered());
    }

    #[test]
    fn what_is_being_claimed_is_not_looked_for() {
        let (mut marks, now) = (Marks::default(), clock::now());
        let at = |order_ms, key| BTreeMap::from([(shard(), (order_ms, key))]);
        let claim = marks.begin_claim(at(60, 3), at(100, 7));
        assert_eq!(marks.begin_look_back(now), at(60, 3));
        // Found at 70 and at 50; the first of them is one that another claim has in hand by now.
        assert_eq!(marks.end_look_back(at(69, i64::MAX), now), BTreeMap::new());
        marks.begin_look_back(now);
        assert_eq!(marks.end_look_back(at(49, i64::MAX), now), at(49, i64::MAX));
        marks.end_claim(claim);
        assert_eq!(marks.begin_look_back(now), at(100, 7));
        assert_eq!(marks.end_look_back(at(69, i64::MAX), now), at(69, i64::MAX));
    }

    #[test]
    fn a_claim_meets_one_that_is_written_when_something_appears_ahead_of_its_end() {
        let mut marks = Marks::default();
        let at = |order_ms| BTreeMap::from([(shard(), (order_ms, 0))]);
        let claim = marks.begin_claim(at(60), at(100));
        assert!(!marks.meet_a_claim());
        assert_eq!(marks.begin(), at(100));
        marks.lower_to(&shard(), (100, 0));
        assert!(!marks.meet_a_claim(), "right behind it");
        marks.lower_to(&shard(), (99, 0));
        assert!(marks.meet_a_claim());
        marks.end_claim(claim);
        assert!(!marks.meet_a_claim());
    }
}
