//! When a connection is cut: after so many bytes, or after a pattern.

use std::sync::{Mutex, PoisonError};

use super::Direction;

/// What has to pass before a connection is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CutAfter {
    /// So many bytes, of all connections together.
    Bytes(usize),
    /// These bytes in a row on one connection.
    Pattern(Vec<u8>),
}

/// What has to happen, and on the way in which direction.
enum Snare {
    Cut(Direction, CutAfter),
    /// All of these are said by the client, one after the other on one connection.
    LoseAnswer(Vec<Vec<u8>>),
}

/// At most one cut that is to come, and how many were set so far.
#[derive(Default)]
pub(super) struct Trap(Mutex<(u64, Option<Snare>)>);

/// What a trap makes of bytes that are to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passes,
    /// So many of them pass, and then the connection is cut.
    CutAfter(usize),
    /// They pass, and the connection is cut when they are answered.
    LoseAnswer,
}

/// What a connection remembers of what has passed on it.
#[derive(Default)]
pub(super) struct Tail {
    /// Which trap it is about, by its number.
    of: u64,
    /// How many patterns have passed.
    met: usize,
    /// The end of what has passed, as long as a pattern may have begun in it.
    end: Vec<u8>,
}

impl Trap {
    pub fn set(&self, direction: Direction, after: CutAfter) {
        self.put(Snare::Cut(direction, after));
    }

    pub fn lose_answer(&self, said: &[&[u8]]) {
        self.put(Snare::LoseAnswer(said.iter().map(|pattern| pattern.to_vec()).collect()));
    }

    fn put(&self, snare: Snare) {
        let mut trap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *trap = (trap.0 + 1, Some(snare));
    }

    /// What becomes of these bytes. The first who hears of a cut is the only one.
    pub fn judge(&self, direction: Direction, tail: &mut Tail, bytes: &[u8]) -> Verdict {
        let mut trap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.of != trap.0 {
            *tail = Tail { of: trap.0, ..Tail::default() };
        }
        let cut = |at: Option<usize>| at.map_or(Verdict::Passes, Verdict::CutAfter);
        let verdict = match &mut trap.1 {
            Some(Snare::Cut(of, after)) if *of == direction => match after {
                CutAfter::Bytes(left) if *left <= bytes.len() => Verdict::CutAfter(*left),
                CutAfter::Bytes(left) => {
                    *left -= bytes.len();
                    Verdict::Passes
                }
                CutAfter::Pattern(pattern) => cut(tail.end_of(pattern, bytes)),
            },
            Some(Snare::LoseAnswer(said)) if direction == Direction::Up => {
                if tail.has_met(said, bytes) { Verdict::LoseAnswer } else { Verdict::Passes }
            }
            _ => Verdict::Passes,
        };
        if verdict != Verdict::Passes {
            trap.1 = None;
        }
        verdict
    }
}

impl Tail {
    /// Whether all of these have passed by now.
    fn has_met(&mut self, said: &[Vec<u8>], bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while let Some(pattern) = said.get(self.met) {
            let Some(end) = self.end_of(pattern, rest) else { return false };
            rest = &rest[end..];
            self.end.clear();
            self.met += 1;
        }
        true
    }

    /// Where in `bytes` the pattern ends, when it began in what came before or begins here.
    fn end_of(&mut self, pattern: &[u8], bytes: &[u8]) -> Option<usize> {
        let before = self.end.len();
        self.end.extend_from_slice(bytes);
        let found = self.end.windows(pattern.len().max(1)).position(|part| part == pattern);
        let kept = pattern.len().saturating_sub(1).min(self.end.len());
        let end = found.map(|at| (at + pattern.len()).saturating_sub(before));
        self.end.drain(..self.end.len() - kept);
        end
    }
}
