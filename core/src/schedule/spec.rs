//! When a schedule fires, and what happens when it cannot.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{cron::Cron, zone};
use crate::{digest, id::ScheduleId};

/// When a schedule fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    Cron {
        expression: String,
        with_seconds: bool,
        /// Of the IANA database.
        zone: String,
    },
    /// At `anchor_ms` and every so many milliseconds after it, whatever clocks on walls show.
    Interval {
        every_ms: i64,
        anchor_ms: i64,
    },
    Once {
        at_ms: i64,
    },
}

/// What happens at a fire time when the run before it has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Nothing.
    #[default]
    Skip,
    /// One fire time waits for the end of it; further ones are skipped.
    QueueOne,
    /// Both run.
    Allow,
    /// It is cancelled.
    CancelRunning,
}

/// When a schedule fires, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    pub timing: Timing,
    /// No fire time before it.
    pub start_ms: Option<i64>,
    /// No fire time at it or later.
    pub end_ms: Option<i64>,
    /// Each fire time is put off by a time that is smaller than this, and always the same.
    pub jitter_ms: i64,
    pub overlap: Overlap,
    /// A fire time that is over for longer is missed.
    pub catch_up_ms: i64,
}

/// A [`Spec`] that is ready to be asked.
#[derive(Clone, Debug)]
pub struct Times {
    timing: Ready,
    start_ms: i64,
    end_ms: i64,
}

#[derive(Clone, Debug)]
enum Ready {
    Cron(Box<Cron>, TimeZone),
    Interval { every_ms: i64, anchor_ms: i64 },
    Once { at_ms: i64 },
}

impl Times {
    /// Reads the expression and finds the zone.
    ///
    /// # Errors
    /// What is wrong with them, for people; never for a spec that was checked by a program with the
    /// same time zones.
    pub fn new(spec: &Spec) -> Result<Self, String> {
        let timing = match &spec.timing {
            Timing::Cron { expression, with_seconds, zone } => Ready::Cron(
                Box::new(Cron::parse(expression, *with_seconds)?),
                super::zone::find(zone)?,
            ),
            Timing::Interval { every_ms, anchor_ms } => {
                Ready::Interval { every_ms: (*every_ms).max(1), anchor_ms: *anchor_ms }
            }
            Timing::Once { at_ms } => Ready::Once { at_ms: *at_ms },
        };
        Ok(Self {
            timing,
            start_ms: spec.start_ms.unwrap_or(i64::MIN),
            end_ms: spec.end_ms.unwrap_or(i64::MAX),
        })
    }

    /// The first fire time after `after_ms`, in Unix milliseconds; `None` if there is none.
    pub fn next_after(&self, after_ms: i64) -> Option<i64> {
        let after_ms = after_ms.max(self.start_ms.saturating_sub(1));
        let next_ms = match &self.timing {
            Ready::Cron(cron, zone) => zone::next_after(cron, zone, after_ms)?,
            Ready::Interval { anchor_ms, .. } if after_ms < *anchor_ms => *anchor_ms,
            Ready::Interval { every_ms, anchor_ms } => {
                let gone = after_ms.checked_sub(*anchor_ms)?;
                anchor_ms.checked_add((gone / every_ms + 1).checked_mul(*every_ms)?)?
            }
            Ready::Once { at_ms } => Some(*at_ms).filter(|at_ms| *at_ms > after_ms)?,
        };
        (next_ms < self.end_ms).then_some(next_ms)
    }

    /// The fire times after `after_ms`, in order.
    pub fn after(&self, after_ms: i64) -> impl Iterator<Item = i64> {
        std::iter::successors(self.next_after(after_ms), |last_ms| self.next_after(*last_ms))
    }
}

impl Spec {
    /// Whether both have the same fire times.
    pub fn has_times_of(&self, other: &Self) -> bool {
        let times = |spec: &Self| (spec.timing.clone(), spec.start_ms, spec.end_ms);
        times(self) == times(other)
    }

    /// When this fire time is due: jitter puts it off, by the same time whoever asks.
    pub fn due_ms(&self, id: ScheduleId, fire_ms: i64) -> i64 {
        if self.jitter_ms < 1 {
            return fire_ms;
        }
        let mut bytes = id.0.to_be_bytes().to_vec();
        bytes.extend(fire_ms.to_be_bytes());
        fire_ms.saturating_add(digest::checksum(&bytes).rem_euclid(self.jitter_ms))
    }
}
