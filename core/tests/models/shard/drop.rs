//! The steps of a drop.

use asyncflow_core::shard::ShardState;

use super::{At, Bug, Process, Shards, State, registry::Name, rules::Rule};

impl Shards {
    pub(super) fn begin_drop(&self, state: &mut State, number: usize, shard: usize) {
        // One drop of a shard at a time in a governor.
        let is_its_turn = !state
            .processes
            .iter()
            .flatten()
            .any(|other| other.leads && other.shard == shard && other.at.is_of_a_drop());
        if !is_its_turn {
            return;
        }
        state.processes[number] = Some(Process::begin(shard, At::Undo));
        if self.bounds.has_named_lock && !self.lock(state, number) {
            state.processes[number] = None;
        }
    }

    pub(super) fn drop_step(
        &self,
        state: &mut State,
        number: usize,
        process: Process,
    ) -> Option<At> {
        let shard = state.shards[process.shard];
        let see = |state: &mut State| {
            state.processes[number].iter_mut().for_each(|process| process.is_current = true);
        };
        match process.at {
            // What was only begun is as if it was not.
            At::Undo if (shard.state, shard.name) == (ShardState::Dropping, Name::Own) => {
                see(state);
                Some(At::UndoWrite)
            }
            At::Undo => Some(At::Look),
            At::UndoWrite => {
                // After a rename that took too long the real one ends here: it may be killed.
                self.write(state, process, ShardState::Dropping, ShardState::Drained)?;
                Some(At::Look)
            }
            At::Look => {
                see(state);
                match shard.state {
                    ShardState::Drained if !shard.is_to_be_kept() => Some(At::Begin),
                    ShardState::Dropping => Some(At::Rename),
                    _ => None,
                }
            }
            At::Begin => {
                self.write(state, process, ShardState::Drained, ShardState::Dropping)?;
                let is_early = self.bug == Some(Bug::RecountFirst);
                Some(if is_early { At::LookAgain } else { At::Rename })
            }
            At::LookAgain => Some(self.look_again(shard.name, shard.is_to_be_kept())),
            At::CloseRead => {
                see(state);
                (shard.state == ShardState::Dropping).then_some(At::CloseWrite)
            }
            At::CloseWrite => {
                self.write(state, process, ShardState::Dropping, ShardState::Closed);
                None
            }
            At::Forget => {
                self.fence(state, process)?;
                if shard.state == ShardState::Dropping {
                    state.change(process.shard, ShardState::Gone);
                }
                None
            }
            _ => self.ddl(state, process),
        }
    }

    fn look_again(&self, name: Name, is_to_be_kept: bool) -> At {
        match self.bug {
            Some(Bug::NoRecount) => At::DropTasks,
            Some(Bug::RecountFirst) if is_to_be_kept => At::CloseRead,
            Some(Bug::RecountFirst) => At::Rename,
            _ if name == Name::Parked && is_to_be_kept => At::RenameBack,
            _ => At::DropTasks,
        }
    }

    /// Checks the guard and changes the tables: in one transaction, or one after the other.
    fn ddl(&self, state: &mut State, process: Process) -> Option<At> {
        let checked = match process.at {
            At::Rename => At::RenameChecked,
            At::RenameBack => At::RenameBackChecked,
            At::DropTasks => At::DropTasksChecked,
            At::DropRest => At::DropRestChecked,
            at => {
                self.connected(process)?;
                return Some(self.changed(state, process.shard, at));
            }
        };
        // A table that is not there needs no change.
        let name = state.shards[process.shard].name;
        match process.at {
            At::Rename if name != Name::Own => return Some(self.after_rename()),
            At::DropTasks if name != Name::Parked => return Some(At::DropRest),
            At::DropRest if name != Name::Rest => return Some(At::Forget),
            _ => {}
        }
        self.fence(state, process)?;
        if self.bounds.has_named_lock {
            return Some(checked);
        }
        Some(self.changed(state, process.shard, checked))
    }

    fn after_rename(&self) -> At {
        if self.bug == Some(Bug::RecountFirst) { At::DropTasks } else { At::LookAgain }
    }

    /// What a statement does that has passed its guard: nothing, where its table is not.
    fn changed(&self, state: &mut State, number: usize, at: At) -> At {
        let (from, to, next) = match at {
            At::RenameChecked => (Name::Own, Name::Parked, self.after_rename()),
            At::RenameBackChecked => (Name::Parked, Name::Own, At::CloseRead),
            At::DropTasksChecked => (Name::Parked, Name::Rest, At::DropRest),
            _ => (Name::Rest, Name::Nowhere, At::Forget),
        };
        let shard = &mut state.shards[number];
        if shard.name != from {
            return next;
        }
        shard.name = to;
        if to == Name::Rest {
            let is_lost = shard.is_to_be_kept();
            (shard.live, shard.fresh, shard.old) = (0, 0, 0);
            if is_lost {
                state.broken.note(Rule::Lost);
            }
        }
        next
    }
}

impl At {
    fn is_of_a_drop(self) -> bool {
        !matches!(
            self,
            Self::Register
                | Self::Create
                | Self::CreateChecked
                | Self::Open
                | Self::Close
                | Self::Drain
                | Self::Reopen
        )
    }
}
