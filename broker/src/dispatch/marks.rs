//! How far a lane has come in each shard.
//!
//! Claiming from the front of the index walks over everything that an open snapshot keeps alive
//! there, so a claim begins behind the last task that was claimed. Tasks that appear further ahead
//! lower the mark; those that nobody told of are found by a full look, at most once a second.

use std::{collections::BTreeMap, time::Duration};

use asyncflow_core::{id::ShardId, task::Task};
use asyncflow_store::Mark;
use tokio::time::Instant;

const FULL_LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Marks {
    marks: BTreeMap<ShardId, Mark>,
    /// Tasks that became ready since the last claim began.
    lowered: BTreeMap<ShardId, Mark>,
    full_look: Option<Instant>,
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

    /// Where the next claim begins; `full` = everywhere from the start.
    pub fn begin(&mut self, full: bool, now: Instant) -> BTreeMap<ShardId, Mark> {
        let lowered = std::mem::take(&mut self.lowered);
        if full {
            self.full_look = Some(now);
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

    /// The claim took everything up to these marks.
    pub fn advance(&mut self, taken: BTreeMap<ShardId, Mark>) {
        self.marks.extend(taken);
    }

    /// Whether a full look is allowed now.
    pub fn may_look_fully(&self, now: Instant) -> bool {
        self.full_look.is_none_or(|last| now - last >= FULL_LOOK_INTERVAL)
    }
}
