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

/// At most one cut that is to come.
#[derive(Default)]
pub(super) struct Trap(Mutex<Option<(Direction, CutAfter)>>);

/// The end of what has passed on a connection, as long as a pattern may have begun in it.
#[derive(Default)]
pub(super) struct Tail(Vec<u8>);

impl Trap {
    pub fn set(&self, direction: Direction, after: CutAfter) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((direction, after));
    }

    /// How much of `bytes` passes before the connection is to be cut; `None` = all, and it is not
    /// cut. The first who gets an answer is the only one.
    pub fn passes(&self, direction: Direction, tail: &mut Tail, bytes: &[u8]) -> Option<usize> {
        let mut trap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, after) = trap.as_mut().filter(|(of, _)| *of == direction)?;
        let passes = match after {
            CutAfter::Bytes(left) if *left <= bytes.len() => Some(*left),
            CutAfter::Bytes(left) => {
                *left -= bytes.len();
                None
            }
            CutAfter::Pattern(pattern) => tail.end_of(pattern, bytes),
        };
        if passes.is_some() {
            *trap = None;
        }
        passes
    }
}

impl Tail {
    /// Where in `bytes` the pattern ends, when it began in what came before or begins here.
    fn end_of(&mut self, pattern: &[u8], bytes: &[u8]) -> Option<usize> {
        let before = self.0.len();
        self.0.extend_from_slice(bytes);
        let found = self.0.windows(pattern.len().max(1)).position(|part| part == pattern);
        let kept = pattern.len().saturating_sub(1).min(self.0.len());
        let end = found.map(|at| (at + pattern.len()).saturating_sub(before));
        self.0.drain(..self.0.len() - kept);
        end
    }
}
