//! Shard tables: their names and their life.
//!
//! `CREATING → OPEN → CLOSED → DRAINED → DROPPING → gone`. New tasks go into the OPEN shard; claims
//! look into every shard that is not DRAINED, oldest first; DRAINED is a hint that is re-checked.

use crate::id::ShardId;

/// Where a shard is in its life. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ShardState {
    Creating = 1,
    Open = 2,
    Closed = 3,
    Drained = 4,
    Dropping = 5,
    /// The table is dropped; the registry row stays, so that its ids are answered with EXPIRED.
    Gone = 6,
}

impl ShardState {
    pub const ALL: [ShardState; 6] =
        [Self::Creating, Self::Open, Self::Closed, Self::Drained, Self::Dropping, Self::Gone];

    /// The stored number, 1 to 6.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The state with this stored number, or `None`.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// A row of the registry of shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    pub id: ShardId,
    pub state: ShardState,
    /// +1 at every change of state.
    pub version: i64,
    pub create_time_ms: i64,
    pub update_time_ms: i64,
    /// When new tasks began to go elsewhere.
    pub close_time_ms: Option<i64>,
    /// When all its tasks were found terminal; `None` again when one of them is retried.
    pub drain_time_ms: Option<i64>,
    /// Where the manifest of its archive is; empty before it was archived.
    pub archive: String,
}

impl ShardId {
    /// `t_<type>_<n>`: the tasks.
    pub fn task_table(&self) -> String {
        format!("t_{}_{}", self.task_type, self.number)
    }

    /// `a_<type>_<n>`: the ended attempts.
    pub fn attempt_table(&self) -> String {
        format!("a_{}_{}", self.task_type, self.number)
    }

    /// `l_<type>_<n>`: the labels, one row each, the index of a list by label.
    pub fn label_table(&self) -> String {
        format!("l_{}_{}", self.task_type, self.number)
    }
}
