//! What must hold in every state, and what must happen in some.

use asyncflow_core::shard::ShardState;
use stateright::Property;

use super::{
    At, Bounds, Process, Shards, State,
    registry::{Name, Shard},
};

/// What was broken on the way here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Broken(u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Lost,
    Epoch,
}

impl Broken {
    pub fn note(&mut self, rule: Rule) {
        self.0 |= 1 << rule as u8;
    }

    fn has(self, rule: Rule) -> bool {
        self.0 & 1 << rule as u8 != 0
    }
}

pub const LOST: &str = "no table is dropped that holds a live task or one that is to be kept";
pub const EPOCH: &str = "nothing is written under an epoch that is not in force";
pub const TABLES: &str = "what the registry says can be read has its tables";
pub const GONE: &str = "a shard that is gone has no tables";
pub const OPEN: &str = "never are two shards open";

/// Whether claims look into it.
pub fn is_looked_at(shard: &Shard) -> bool {
    matches!(shard.state, ShardState::Open | ShardState::Closed) && shard.name == Name::Own
}

/// Whether new tasks have a place, and claims find all that is to be done.
pub fn is_all_found(state: &State) -> bool {
    let is_found = |shard: &Shard| shard.live == 0 || is_looked_at(shard);
    state.newest_open().is_some() && state.shards.iter().all(is_found)
}

pub fn properties(bounds: &Bounds) -> Vec<Property<Shards>> {
    let mut properties = vec![
        Property::always(LOST, |_, state: &State| !state.broken.has(Rule::Lost)),
        Property::always(EPOCH, |_, state: &State| !state.broken.has(Rule::Epoch)),
        Property::always(TABLES, |_, state: &State| {
            use ShardState::{Closed, Drained, Open};
            let is_readable = |state| matches!(state, Open | Closed | Drained);
            state.shards.iter().all(|shard| !is_readable(shard.state) || shard.name == Name::Own)
        }),
        Property::always(GONE, |_, state: &State| {
            let mut gone = state.shards.iter().filter(|shard| shard.state == ShardState::Gone);
            gone.all(|shard| shard.name == Name::Nowhere)
        }),
        Property::always(OPEN, |_, state: &State| {
            let is_open = |shard: &&Shard| shard.state == ShardState::Open;
            state.shards.iter().filter(is_open).count() < 2
        }),
        Property::sometimes("a shard is dropped", |_, state: &State| {
            state.shards.iter().any(|shard| shard.state == ShardState::Gone)
        }),
        Property::sometimes("a drop finds a task after its rename", |_, state: &State| {
            let mut at = state.processes.iter().flatten().map(|process| process.at);
            at.any(|at| at == At::RenameBack)
        }),
        Property::sometimes("a broker inserts into a drained shard", |_, state: &State| {
            let is_late = |shard: &Shard| shard.state == ShardState::Drained && shard.live > 0;
            state.shards.iter().any(is_late)
        }),
        Property::sometimes("a stopped governor stands before a drop", |_, state: &State| {
            let is_old = |process: &Process| !process.leads && process.at == At::DropTasks;
            state.processes.iter().flatten().any(is_old)
        }),
        Property::sometimes("a broker knows a shard that is gone", |_, state: &State| {
            let known = state.known.iter().flatten();
            known.copied().any(|number| state.shards[number].state == ShardState::Gone)
        }),
    ];
    if bounds.has_named_lock {
        properties.push(Property::sometimes(
            "DDL comes late, under its lock",
            |_, state: &State| {
                let is_late = |process: &Process| {
                    !process.leads && process.has_lock && process.at == At::RenameChecked
                };
                state.processes.iter().flatten().any(is_late)
            },
        ));
    }
    properties
}
