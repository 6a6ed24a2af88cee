//! One drop of a shard at a time.
//!
//! The epoch keeps two governors apart; this keeps a drop by hand and that of the duty apart in the
//! one that leads. They may go by other terms, and what one of them renames back the other would
//! take for dropped.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use asyncflow_core::id::ShardId;

use crate::Store;

/// The shards that this process is dropping.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashSet<ShardId>>>);

/// The right to drop a shard; given back when it goes out of scope.
pub(super) struct Turn {
    turns: Turns,
    shard: ShardId,
}

impl Store {
    /// Takes the right to drop a shard; `None` while somebody in this process has it.
    pub(super) fn take_turn(&self, shard: &ShardId) -> Option<Turn> {
        let turns = self.turns().clone();
        let taken = turns.0.lock().unwrap_or_else(PoisonError::into_inner).insert(shard.clone());
        (taken || self.is_off("drop.one_at_a_time")).then(|| Turn { turns, shard: shard.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.shard);
    }
}
