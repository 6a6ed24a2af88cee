//! The life of a type's shards: roll, drain, drop, while brokers insert by old views of the
//! registry, and governors are stopped between any two steps and go on when others lead.
//!
//! ```text
//!  roll:  read ─▶ register CREATING ─▶ tables, if it still is ─▶ OPEN, and the older CLOSED
//!  drain: look ─▶ CLOSED → DRAINED, or DRAINED → CLOSED
//!  drop:  undo ─▶ look ─▶ DROPPING ─▶ rename ─▶ look again ─▶ drop, drop ─▶ GONE
//!                                                   └▶ rename back ─▶ read ─▶ CLOSED
//! ```
//!
//! The steps are those of `store/src/shard`, one for each statement or transaction. A process is
//! one duty of a governor under the epoch that was in force when it began; two of them may be two
//! duties of one governor, or those of a stopped one and of its successor. Epochs and versions are
//! compared for being equal only and never come again, so all that is kept of them is whether what
//! a process has seen is still in force.

mod cases;
mod drop;
mod registry;
mod rules;

use asyncflow_core::shard::ShardState;
use stateright::{Model, Property};

use registry::{Name, Shard};
use rules::Broken;

#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub shards: usize,
    /// Tasks that are created in all.
    pub tasks: u8,
    /// DDL commits by itself, so the epoch is checked before it, under a lock of the server; else
    /// both are one transaction.
    pub has_named_lock: bool,
    /// Brokers have to make the first shard.
    pub from_nothing: bool,
    /// Tasks that have ended are retried.
    pub retries: bool,
    /// Brokers also claim by an old view of the registry, so that tasks end anywhere.
    pub claims_late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// What governors write is not compared with the epoch in force.
    NoEpoch,
    /// After the rename nobody looks again.
    NoRecount,
    /// The second look is before the rename.
    RecountFirst,
    /// DDL is not under the server's lock.
    NoNamedLock,
    /// Tables are made without a look at the registry.
    CreateUnchecked,
    /// DRAINED shards are not looked at again, and late inserts do not say that they came.
    DrainedForGood,
    /// Retries leave their shard DRAINED, and nobody looks at it again.
    RetryUnseen,
    /// Nobody goes on with a drop that another one began.
    DropLeft,
    /// The new shard is opened in one step and the old one closed in another.
    OpenedApart,
}

#[derive(Clone, Debug)]
pub struct Shards {
    pub bounds: Bounds,
    pub bug: Option<Bug>,
}

/// A duty under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process {
    pub shard: usize,
    pub at: At,
    /// The epoch under which it began is in force. A broker has none.
    pub leads: bool,
    pub is_broker: bool,
    /// The row of the registry has the version that it has seen.
    pub is_current: bool,
    /// It holds the server's lock on the shard's DDL.
    pub has_lock: bool,
}

/// The step that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum At {
    Register,
    Create,
    /// The server was asked whether the guard holds, and the statement is on its way.
    CreateChecked,
    Open,
    Close,
    Drain,
    Reopen,
    Undo,
    UndoWrite,
    Look,
    Begin,
    Rename,
    RenameChecked,
    LookAgain,
    RenameBack,
    RenameBackChecked,
    CloseRead,
    CloseWrite,
    DropTasks,
    DropTasksChecked,
    DropRest,
    DropRestChecked,
    Forget,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// By number, from 0.
    pub shards: Vec<Shard>,
    /// Where each broker believes that new tasks go.
    pub known: [Option<usize>; 2],
    pub processes: [Option<Process>; 2],
    pub created: u8,
    pub broken: Broken,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// A broker reads the registry.
    Read {
        broker: usize,
    },
    /// And inserts; one that took long says so to the registry.
    Insert {
        broker: usize,
        is_late: bool,
    },
    Complete {
        shard: usize,
    },
    /// The retention of a task that has ended is over.
    Age {
        shard: usize,
    },
    Retry {
        shard: usize,
        is_kept: bool,
    },
    Roll {
        process: usize,
        is_broker: bool,
    },
    Drain {
        process: usize,
        shard: usize,
    },
    Drop {
        process: usize,
        shard: usize,
    },
    /// The process does its next step.
    Step {
        process: usize,
    },
    /// Somebody uses the table for too long.
    Busy {
        process: usize,
    },
    Kill {
        process: usize,
    },
    /// The server closes the connection of a process that is silent, and with it the lock.
    Disconnect {
        process: usize,
    },
    NewLeader,
}

impl Model for Shards {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let open = Shard { state: ShardState::Open, name: Name::Own, ..Shard::registered() };
        vec![State {
            shards: if self.bounds.from_nothing { Vec::new() } else { vec![open] },
            known: [None; 2],
            processes: [None; 2],
            created: 0,
            broken: Broken::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for broker in 0..2 {
            actions.push(Action::Read { broker });
            if state.known[broker].is_some() && state.created < self.bounds.tasks {
                for is_late in [false, true] {
                    actions.push(Action::Insert { broker, is_late });
                }
            }
        }
        for (number, shard) in state.shards.iter().enumerate() {
            if shard.fresh > 0 {
                actions.push(Action::Age { shard: number });
            }
            let is_claimed = rules::is_looked_at(shard) || self.bounds.claims_late;
            if shard.live > 0 && is_claimed {
                actions.push(Action::Complete { shard: number });
            }
            if self.bounds.retries {
                for is_kept in [false, true] {
                    actions.push(Action::Retry { shard: number, is_kept });
                }
            }
        }
        let is_led = state.processes.iter().flatten().any(|process| process.leads);
        if is_led {
            actions.push(Action::NewLeader);
        }
        for process in 0..2 {
            self.of_process(state, process, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Read { broker } => state.known[broker] = state.newest_open(),
            Action::Insert { broker, is_late } => self.insert(&mut state, broker, is_late),
            Action::Complete { shard } => {
                let shard = &mut state.shards[shard];
                if shard.name == Name::Own {
                    (shard.live, shard.fresh) = (shard.live - 1, shard.fresh + 1);
                }
            }
            Action::Age { shard } => {
                let shard = &mut state.shards[shard];
                (shard.fresh, shard.old) = (shard.fresh - 1, shard.old + 1);
            }
            Action::Retry { shard, is_kept } => self.retry(&mut state, shard, is_kept),
            Action::Roll { process, is_broker } => self.roll(&mut state, process, is_broker),
            Action::Drain { process, shard } => self.drain(&mut state, process, shard),
            Action::Drop { process, shard } => self.begin_drop(&mut state, process, shard),
            Action::Step { process } => self.step(&mut state, process),
            Action::Busy { process } => {
                if let Some(process) = &mut state.processes[process] {
                    process.at = At::Undo;
                }
            }
            Action::Kill { process } => state.processes[process] = None,
            Action::Disconnect { process } => {
                state.processes[process].iter_mut().for_each(|process| process.has_lock = false);
            }
            Action::NewLeader => {
                state.processes.iter_mut().flatten().for_each(|process| process.leads = false);
            }
        }
        // Which broker and which process it is makes no difference.
        state.known.sort_unstable();
        state.processes.sort_unstable();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        rules::properties(&self.bounds)
    }
}

impl Shards {
    fn of_process(&self, state: &State, process: usize, actions: &mut Vec<Action>) {
        if let Some(Process { at, has_lock, .. }) = state.processes[process] {
            actions.extend([Action::Step { process }, Action::Kill { process }]);
            if at == At::Rename {
                actions.push(Action::Busy { process });
            }
            if self.bounds.has_named_lock && has_lock {
                actions.push(Action::Disconnect { process });
            }
            return;
        }
        if state.newest_open().is_none() {
            actions.push(Action::Roll { process, is_broker: true });
        }
        actions.push(Action::Roll { process, is_broker: false });
        for (number, shard) in state.shards.iter().enumerate() {
            if matches!(shard.state, ShardState::Closed | ShardState::Drained) {
                actions.push(Action::Drain { process, shard: number });
            }
            let is_left = shard.state == ShardState::Dropping && self.bug != Some(Bug::DropLeft);
            if shard.state == ShardState::Drained || is_left {
                actions.push(Action::Drop { process, shard: number });
            }
        }
    }
}
