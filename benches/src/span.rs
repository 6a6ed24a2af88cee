//! A part of a measurement.

use std::time::Duration;

/// From one moment to another, both counted from the beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub from: Duration,
    pub to: Duration,
}

impl Span {
    pub const FOR_EVER: Self = Self { from: Duration::ZERO, to: Duration::MAX };

    /// `margin` before and after as well.
    pub fn widened(self, margin: Duration) -> Self {
        Self { from: self.from.saturating_sub(margin), to: self.to + margin }
    }

    pub fn contains(self, at: Duration) -> bool {
        self.from <= at && at < self.to
    }

    pub fn meets(self, other: Self) -> bool {
        self.from < other.to && other.from < self.to
    }

    pub fn length(self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}
