//! The governor's looks. What it decides is asked of the real [`LookBook`], which is led through
//! the looks that count: those in a row that saw the same.

use asyncflow_core::lease::{LookBook, Suspect};

use super::row::{BEATS, Row};

/// In looks: a heartbeat is due every second one, so that looks have to be three apart.
const HEARTBEAT: i64 = 2;
const INTERVAL: i64 = 1;
/// After so many looks in a row the answer stays the same.
pub const LOOKS_MAX: u8 = 4;

/// An attempt without a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sighting {
    pub attempt: i32,
    /// The row's counter of heartbeats is still the one that was seen.
    pub is_fresh: bool,
}

impl Sighting {
    pub fn beats(self) -> i64 {
        if self.is_fresh { BEATS } else { BEATS - 1 }
    }

    fn suspect(self, row: &Row) -> Suspect {
        let id = row.task().id;
        Suspect { id, attempt: self.attempt, beats: self.beats(), started: true }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Book {
    /// What the last look saw, and at how many looks in a row.
    pub seen: Option<Sighting>,
    pub looks: u8,
    /// The database was away since.
    pub was_away: bool,
}

impl Book {
    /// One look at the row; whether it is to be taken back.
    pub fn look(&mut self, row: &Row, book: impl Fn() -> LookBook) -> bool {
        let mut real = book();
        let mut now = 0;
        for _ in 0..self.looks {
            let seen = self.seen.map(|seen| seen.suspect(row));
            real.look(seen.as_slice(), now);
            now += INTERVAL;
        }
        now += if self.was_away { 100 } else { 0 };
        let is_suspect = row.state.is_leased() && row.is_run_out;
        let sighting = Sighting { attempt: row.attempt, is_fresh: true };
        let suspect =
            is_suspect.then(|| Suspect { started: row.is_started, ..sighting.suspect(row) });
        let reaps = !real.look(suspect.as_slice(), now).is_empty();
        let is_same = self.seen == Some(sighting) && !self.was_away;
        let looks = if is_same { (self.looks + 1).min(LOOKS_MAX) } else { 1 };
        *self = Self {
            seen: suspect.is_some().then_some(sighting),
            looks: if is_suspect { looks } else { 0 },
            was_away: false,
        };
        reaps
    }
}

pub fn two_looks() -> LookBook {
    LookBook::new(HEARTBEAT, INTERVAL, 10)
}

/// A book that takes back what it sees for the first time.
pub fn one_look() -> LookBook {
    LookBook::new(0, INTERVAL, 10)
}

/// The short form of what was seen says the same as all of it, after every sequence of looks.
#[test]
fn the_looks_in_a_row_are_all_that_counts() {
    let mut row = Row::pending();
    (row.attempt, row.session, row.is_started) = (1, 1, true);
    row = row.forged(asyncflow_core::state::TaskState::Running);
    // 0: not expired, 1: expired, 2: expired after a heartbeat, 3: the database was away.
    for sequence in 0..4_usize.pow(6) {
        let (mut short, mut whole) = (Book::default(), two_looks());
        let (mut beats, mut now) = (0, 0);
        for at in 0..6 {
            let step = sequence / 4_usize.pow(at) % 4;
            row.is_run_out = step > 0;
            if step == 2 {
                beats += 1;
                short.seen.iter_mut().for_each(|seen| seen.is_fresh = false);
            }
            (short.was_away, now) = (step == 3, now + if step == 3 { 100 } else { INTERVAL });
            let suspect =
                Suspect { beats, ..Sighting { attempt: 1, is_fresh: true }.suspect(&row) };
            let suspects = if step > 0 { vec![suspect] } else { Vec::new() };
            let expected = !whole.look(&suspects, now).is_empty();
            assert_eq!(short.look(&row, two_looks), expected, "{sequence} at {at}");
        }
    }
}
