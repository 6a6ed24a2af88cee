//! Claim, start, heartbeat, save, complete, reap: one task, two workers, brokers, a governor.
//!
//! ```text
//!  worker ── call ─▶ sent ── any time, any number of times, or never ─▶ broker ─▶ the row
//!     ▲                                                                   │
//!     └────────────── an answer, any time later, or never ────────────────┘
//! ```
//!
//! What was sent once stays sent: that is a network that loses, repeats, delays and overtakes, and
//! a worker that was stopped between its own check and its call. A step of a broker is one
//! conditional statement, as brokers keep nothing between two of them but old views of the row. A
//! worker is killed at any moment and comes back under the next session, with its journal and, if
//! its programs have a process of their own, with what it had left running. A lease runs out at
//! any moment: clocks are trusted by nobody.

mod book;
mod broker;
mod bug;
mod cases;
mod row;
mod rules;
mod state;
mod worker;

use asyncflow_core::{
    event::{Event, Fence},
    state::TaskState,
};
use stateright::{Model, Property};

use book::{Book, LOOKS_MAX, Sighting};
use bug::Bug;
use row::Ending;
use state::{Attempts, Call, Issued, Run, State, View};

/// How far a model goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Claims in all.
    pub attempts: i32,
    /// Workers that are killed and come back, in all.
    pub restarts: i64,
    /// Some of them for good.
    pub dies: bool,
    /// Of each attempt.
    pub saves: u8,
    /// Programs also fail.
    pub fails: bool,
    /// Workers say that they started, instead of with their claim.
    pub starts_later: bool,
    /// The owner cancels.
    pub cancels: bool,
    /// Runs that the owner opens by a retry.
    pub retries: i32,
    /// The database is away between looks.
    pub outages: bool,
    /// A broker writes what follows from the row as it saw it some time ago.
    pub views: bool,
    /// Saves name the version that they follow.
    pub names_version: bool,
}

pub const SMALL: Bounds = Bounds {
    attempts: 2,
    restarts: 0,
    dies: false,
    saves: 0,
    fails: false,
    starts_later: false,
    cancels: false,
    retries: 0,
    outages: false,
    views: false,
    names_version: true,
};

#[derive(Clone, Debug)]
pub struct Lease {
    pub bounds: Bounds,
    /// What is done wrong.
    pub bug: Option<Bug>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// A broker claims the task for a session, which may be one of the past.
    Claim {
        session: i64,
        by_view: bool,
    },
    /// A worker hears of it.
    Take {
        attempt: i32,
    },
    /// A worker hears that its start was recorded.
    Begin {
        attempt: i32,
    },
    Save {
        attempt: i32,
    },
    End {
        attempt: i32,
        ending: Ending,
    },
    /// A worker is killed, and comes back; its programs have gone on, or not.
    Restart {
        worker: usize,
        goes_on: bool,
    },
    /// A worker is killed, and does not.
    Die {
        worker: usize,
    },
    /// It hears that it is registered.
    Resume {
        worker: usize,
    },
    /// A broker carries out what was sent.
    Deliver {
        call: Call,
        by_view: bool,
    },
    /// It dies in the middle of a registration.
    DeliverHalf {
        call: Call,
    },
    See,
    RunOut,
    Look,
    Reap,
    Outage,
    Promote,
    Cancel,
    Retry,
}

impl Model for Lease {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.of_workers(state, actions);
        self.of_brokers(state, actions);
        let leased = state.row.state.is_leased();
        if leased && !state.row.is_run_out {
            actions.push(Action::RunOut);
        }
        if leased || state.book != Book::default() {
            actions.push(Action::Look);
        }
        if state.reap.is_some() {
            actions.push(Action::Reap);
        }
        if self.bounds.outages && state.book.looks > 0 && !state.book.was_away {
            actions.push(Action::Outage);
        }
        if state.row.state == TaskState::Scheduled {
            actions.push(Action::Promote);
        }
        if self.bounds.cancels && !state.row.state.is_terminal() {
            actions.push(Action::Cancel);
        }
        if state.row.state.is_terminal() && state.row.run < self.bounds.retries {
            actions.push(Action::Retry);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Claim { session, by_view } => self.claim(&mut state, session, by_view),
            Action::Take { attempt } => self.take(&mut state, attempt),
            Action::Begin { attempt } => {
                state.runs[attempt as usize] = Some(Run::Running { saves: 0 });
            }
            Action::Save { attempt } => self.save(&mut state, attempt),
            Action::End { attempt, ending } => self.end(&mut state, attempt, ending),
            Action::Restart { worker, goes_on } => self.restart(&mut state, worker, goes_on),
            Action::Die { worker } => self.die(&mut state, worker),
            Action::Resume { worker } => self.resume(&mut state, worker),
            Action::Deliver { call, by_view } => self.deliver(&mut state, call, by_view),
            Action::DeliverHalf { call: Call::Register { session, adopts } } => {
                self.adopt(&mut state, session, adopts);
            }
            Action::DeliverHalf { .. } => {}
            Action::See => {
                let (row, context) = (state.row, state.context);
                state.view = Some(View { row, context, is_current: true });
            }
            Action::RunOut => state.row.is_run_out = true,
            Action::Look => self.look(&mut state),
            Action::Reap => self.reap(&mut state),
            Action::Outage => {
                // Nobody could renew meanwhile.
                (state.book.was_away, state.unheard) = (self.bug != Some(Bug::NoOutage), 0);
            }
            Action::Promote => self.apply_now(&mut state, &Event::Promote),
            Action::Cancel => self.apply_now(&mut state, &Event::Cancel { message: "no".into() }),
            Action::Retry => self.apply_now(&mut state, &Event::retry(false)),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        rules::properties(&self.bounds)
    }
}

impl Lease {
    fn look(&self, state: &mut State) {
        if state.row.state.is_leased() {
            state.unheard = (state.unheard + 1).min(LOOKS_MAX);
        }
        let book = if self.bug == Some(Bug::OneLook) { book::one_look } else { book::two_looks };
        let reaps = state.book.look(&state.row, book);
        if reaps {
            rules::watch_look(state);
            state.reap = Some(Sighting { attempt: state.row.attempt, is_fresh: true });
        }
    }

    fn apply_now(&self, state: &mut State, event: &Event) {
        self.apply(state, event, None);
    }
}

fn fence(attempt: i32, session_id: i64) -> Fence {
    Fence { attempt, session_id }
}
