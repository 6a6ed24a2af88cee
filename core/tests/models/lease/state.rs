//! All that there is at one moment.

use std::collections::BTreeSet;

use super::{
    book::{Book, Sighting},
    row::{ATTEMPTS_MAX, Ending, Row},
    rules::Broken,
};

/// Something that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    Start {
        attempt: i32,
        session: i64,
    },
    Beat {
        attempt: i32,
        session: i64,
    },
    /// The attempt's save number `number`, after version `after`.
    Save {
        attempt: i32,
        session: i64,
        number: u8,
        after: i64,
    },
    Settle {
        attempt: i32,
        session: i64,
        ending: Ending,
    },
    /// A new process, which may go on with those attempts.
    Register {
        session: i64,
        adopts: Attempts,
    },
}

/// A set of attempts, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempts(u8);

impl Attempts {
    pub fn add(&mut self, attempt: i32) {
        self.0 |= 1 << attempt;
    }

    pub fn has(self, attempt: i32) -> bool {
        self.0 & 1 << attempt != 0
    }
}

/// A claim's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Issued {
    pub session: i64,
    pub context: u8,
    pub version: i64,
}

/// A program as its worker knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Run {
    /// Not begun: the worker has said that it starts, and waits for the answer.
    Taken,
    Running {
        saves: u8,
    },
    /// In the journal.
    Ended(Ending),
    /// Killed, or its lease is known to be lost.
    Dropped,
}

/// The row as a broker saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    pub row: Row,
    pub context: u8,
    /// The row's revision is still the one that was seen.
    pub is_current: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub row: Row,
    /// Whose context the row holds: ten times the attempt and the number of the save, or 0.
    pub context: u8,
    /// Whose result.
    pub result: Option<i32>,
    pub book: Book,
    /// Decided at a look, and not yet written.
    pub reap: Option<Sighting>,
    /// Of each worker, that of its process.
    pub sessions: [i64; 2],
    /// Its registration was answered, or it is the first.
    pub is_registered: [bool; 2],
    /// What the answer says that it goes on with.
    pub kept: [Option<Attempts>; 2],
    /// By attempt, from 1.
    pub issued: [Option<Issued>; ATTEMPTS_MAX + 1],
    pub runs: [Option<Run>; ATTEMPTS_MAX + 1],
    pub sent: BTreeSet<Call>,
    /// Starts, saves and ends that were answered with OK.
    pub accepted: BTreeSet<Call>,
    pub view: Option<View>,
    /// Looks since the holder was heard of.
    pub unheard: u8,
    pub broken: Broken,
}

impl State {
    pub fn new() -> Self {
        Self {
            row: Row::pending(),
            context: 0,
            result: None,
            book: Book::default(),
            reap: None,
            sessions: [1, 2],
            is_registered: [true; 2],
            kept: [None; 2],
            issued: [None; ATTEMPTS_MAX + 1],
            runs: [None; ATTEMPTS_MAX + 1],
            sent: BTreeSet::new(),
            accepted: BTreeSet::new(),
            view: None,
            unheard: 0,
            broken: Broken::default(),
        }
    }
}
