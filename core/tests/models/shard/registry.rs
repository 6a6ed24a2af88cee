//! The registry and the tables, what brokers do with them, and the governor's roll and drain.

use asyncflow_core::shard::ShardState;

use super::{At, Bug, Process, Shards, State, rules::Rule};

/// Where a shard's three tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    Nowhere,
    Own,
    /// Renamed: nobody finds them but who drops.
    Parked,
    /// That of the tasks is gone, the others are not.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    pub state: ShardState,
    pub name: Name,
    /// Tasks that have not ended.
    pub live: u8,
    /// That have, and are to be kept.
    pub fresh: u8,
    /// That may go.
    pub old: u8,
}

impl Shard {
    pub fn registered() -> Self {
        Self { state: ShardState::Creating, name: Name::Nowhere, live: 0, fresh: 0, old: 0 }
    }

    pub fn is_to_be_kept(&self) -> bool {
        self.live > 0 || self.fresh > 0
    }
}

impl State {
    pub fn newest_open(&self) -> Option<usize> {
        self.shards.iter().rposition(|shard| shard.state == ShardState::Open)
    }

    /// Nobody's view of the shard's row is right any more.
    fn raise_version(&mut self, shard: usize) {
        for process in self.processes.iter_mut().flatten() {
            process.is_current &= process.shard != shard;
        }
    }

    /// A change of state; a drop that is begun and given up does not raise the version.
    pub fn change(&mut self, shard: usize, to: ShardState) {
        use ShardState::{Drained, Dropping};
        let from = std::mem::replace(&mut self.shards[shard].state, to);
        if ![(Drained, Dropping), (Dropping, Drained)].contains(&(from, to)) {
            self.raise_version(shard);
        }
    }

    /// What becomes live in a shard is not DRAINED, nor what was looked at for a drop.
    fn reopen(&mut self, shard: usize) {
        match self.shards[shard].state {
            ShardState::Drained => self.change(shard, ShardState::Closed),
            ShardState::Dropping => self.raise_version(shard),
            _ => {}
        }
    }
}

impl Shards {
    pub(super) fn insert(&self, state: &mut State, broker: usize, is_late: bool) {
        let Some(number) = state.known[broker] else { return };
        if state.shards[number].name != Name::Own {
            // There is no such table: the registry is read anew.
            state.known[broker] = state.newest_open();
            return;
        }
        state.created += 1;
        state.shards[number].live += 1;
        if is_late && self.bug != Some(Bug::DrainedForGood) {
            state.reopen(number);
        }
    }

    pub(super) fn retry(&self, state: &mut State, number: usize, is_kept: bool) {
        let shard = &mut state.shards[number];
        let ended = if is_kept { &mut shard.fresh } else { &mut shard.old };
        if *ended == 0 || shard.name != Name::Own {
            return;
        }
        *ended -= 1;
        shard.live += 1;
        if self.bug != Some(Bug::RetryUnseen) {
            state.reopen(number);
        }
    }

    /// What is begun is gone on with.
    pub(super) fn roll(&self, state: &mut State, process: usize, is_broker: bool) {
        let begun = state.shards.iter().position(|shard| shard.state == ShardState::Creating);
        let shard = begun.unwrap_or(state.shards.len());
        if shard < self.bounds.shards {
            let of = Process { is_broker, ..Process::begin(shard, At::Register) };
            state.processes[process] = Some(of);
        }
    }

    pub(super) fn drain(&self, state: &mut State, process: usize, number: usize) {
        let shard = state.shards[number];
        let looks_again = !matches!(self.bug, Some(Bug::DrainedForGood | Bug::RetryUnseen));
        let at = match (shard.state, shard.live > 0) {
            (ShardState::Closed, false) => At::Drain,
            (ShardState::Drained, true) if looks_again => At::Reopen,
            _ => return,
        };
        state.processes[process] = Some(Process::begin(number, at));
    }

    /// The next step of a process; `None` when it was its last one, or was refused.
    pub(super) fn step(&self, state: &mut State, number: usize) {
        let Some(process) = state.processes[number] else { return };
        let next = match process.at {
            At::Register | At::Create | At::CreateChecked | At::Open | At::Close => {
                self.roll_step(state, number, process)
            }
            At::Drain => {
                self.write(state, process, ShardState::Closed, ShardState::Drained);
                None
            }
            At::Reopen => {
                self.write(state, process, ShardState::Drained, ShardState::Closed);
                None
            }
            _ => self.drop_step(state, number, process),
        };
        state.processes[number] = next.map(|at| {
            let now = state.processes[number].unwrap_or(process);
            Process { at, ..now }
        });
    }

    fn roll_step(&self, state: &mut State, number: usize, process: Process) -> Option<At> {
        let shard = process.shard;
        match process.at {
            At::Register => {
                self.fence(state, process)?;
                if state.shards.len() == shard {
                    state.shards.push(Shard::registered());
                }
                Some(At::Create)
            }
            At::Create => {
                if self.bounds.has_named_lock && !self.lock(state, number) {
                    return None;
                }
                if state.shards[shard].state == ShardState::Creating
                    || self.bug == Some(Bug::CreateUnchecked)
                {
                    // A transaction checks and creates.
                    let has_lock = self.bounds.has_named_lock;
                    return has_lock.then_some(At::CreateChecked).or_else(|| {
                        create(state, shard);
                        Some(At::Open)
                    });
                }
                self.unlock(state, number);
                Some(At::Open)
            }
            At::CreateChecked => {
                self.connected(process)?;
                create(state, shard);
                self.unlock(state, number);
                Some(At::Open)
            }
            At::Open => {
                self.fence(state, process)?;
                if state.shards[shard].state == ShardState::Creating {
                    state.change(shard, ShardState::Open);
                }
                if self.bug == Some(Bug::OpenedApart) {
                    return Some(At::Close);
                }
                close_before(state, shard);
                None
            }
            _ => {
                self.fence(state, process)?;
                close_before(state, shard);
                None
            }
        }
    }

    /// A change of the registry by a leader, of a row that is as it was seen.
    pub(super) fn write(
        &self,
        state: &mut State,
        process: Process,
        from: ShardState,
        to: ShardState,
    ) -> Option<()> {
        self.fence(state, process)?;
        let is_as_seen = state.shards[process.shard].state == from && process.is_current;
        is_as_seen.then(|| state.change(process.shard, to))
    }

    /// A transaction of a leader goes on only under the epoch in force.
    pub(super) fn fence(&self, state: &mut State, process: Process) -> Option<()> {
        if process.is_broker || process.leads {
            return Some(());
        }
        if self.bug != Some(Bug::NoEpoch) {
            return None;
        }
        state.broken.note(Rule::Epoch);
        Some(())
    }

    /// Takes the server's lock on a shard's DDL, if nobody has it.
    pub(super) fn lock(&self, state: &mut State, number: usize) -> bool {
        let Some(shard) = state.processes[number].map(|process| process.shard) else {
            return false;
        };
        let others = state.processes.iter().flatten();
        let is_taken = others.filter(|other| other.shard == shard).any(|other| other.has_lock);
        if is_taken && self.bug != Some(Bug::NoNamedLock) {
            return false;
        }
        state.processes[number].iter_mut().for_each(|process| process.has_lock = true);
        true
    }

    pub(super) fn unlock(&self, state: &mut State, number: usize) {
        state.processes[number].iter_mut().for_each(|process| process.has_lock = false);
    }

    /// What was sent on a connection that the server has closed does not arrive.
    pub(super) fn connected(&self, process: Process) -> Option<()> {
        (process.has_lock || self.bug == Some(Bug::NoNamedLock)).then_some(())
    }
}

impl Process {
    pub fn begin(shard: usize, at: At) -> Self {
        Self { shard, at, leads: true, is_broker: false, is_current: true, has_lock: false }
    }
}

fn create(state: &mut State, shard: usize) {
    if state.shards[shard].name == Name::Nowhere {
        state.shards[shard].name = Name::Own;
    }
}

fn close_before(state: &mut State, shard: usize) {
    for older in 0..shard {
        if state.shards[older].state == ShardState::Open {
            state.change(older, ShardState::Closed);
        }
    }
}
