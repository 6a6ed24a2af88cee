//! GPUs that have shown a fault: kept out of use for ever longer times, and then for good.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A GPU that was well for so long has its next fault as if it were the first.
const FORGOTTEN_AFTER_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// Whether a GPU is out of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Out {
    /// Until then, in Unix milliseconds.
    Until(i64),
    /// Until an operator says otherwise.
    ForGood,
    /// It is back in use.
    Back,
}

/// What a GPU has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How often it was taken out of use.
    pub strikes: u32,
    /// The last fault.
    pub xid: u32,
    /// When that was, in Unix milliseconds.
    pub since_ms: i64,
    /// Whether it is out of use.
    pub out: Out,
}

/// All faults by UUID; what is kept in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Faults(BTreeMap<String, Record>);

impl Faults {
    /// A severe fault. Returns whether the GPU goes out of use by it: one that is out already shows
    /// faults as long as nobody has seen to it.
    pub fn strike(&mut self, uuid: &str, xid: u32, now_ms: i64, steps_ms: &[u64]) -> bool {
        let out = Out::Back;
        let fresh = Record { strikes: 0, xid, since_ms: now_ms, out };
        let record = self.0.entry(uuid.to_owned()).or_insert(fresh);
        if record.out != Out::Back {
            return false;
        }
        if now_ms - record.since_ms > FORGOTTEN_AFTER_MS {
            record.strikes = 0;
        }
        record.xid = xid;
        record.since_ms = now_ms;
        record.take_out(now_ms, steps_ms);
        true
    }

    /// Those whose time is over come back if they can be read, else stay out for the next time.
    pub fn probe(&mut self, readable: &BTreeSet<&str>, now_ms: i64, steps_ms: &[u64]) {
        for (uuid, record) in &mut self.0 {
            let Out::Until(until_ms) = record.out else { continue };
            if until_ms > now_ms {
                continue;
            }
            if readable.contains(uuid.as_str()) {
                tracing::info!(uuid, "a GPU that had shown a fault is tried again");
                record.out = Out::Back;
            } else {
                record.take_out(now_ms, steps_ms);
            }
        }
    }

    /// An operator has seen to it: what is older is forgotten.
    pub fn forgive(&mut self, uuid: &str, time_ms: i64) {
        if self.0.get(uuid).is_some_and(|record| record.since_ms <= time_ms) {
            self.0.remove(uuid);
        }
    }

    /// What a GPU has done, while it is out of use.
    pub fn out(&self, uuid: &str) -> Option<&Record> {
        self.0.get(uuid).filter(|record| record.out != Out::Back)
    }
}

impl Record {
    fn take_out(&mut self, now_ms: i64, steps_ms: &[u64]) {
        let step = usize::try_from(self.strikes).ok().and_then(|step| steps_ms.get(step));
        self.strikes = self.strikes.saturating_add(1);
        let until = step.and_then(|step| now_ms.checked_add(i64::try_from(*step).ok()?));
        self.out = until.map_or(Out::ForGood, Out::Until);
    }
}

/// What an XID means, for people.
pub fn meaning(xid: u32) -> &'static str {
    match xid {
        13 => "an exception of the program",
        31 => "the program used memory that it did not have",
        43 => "the program stopped the GPU's work",
        45 => "the work of a program was cleared away",
        48 => "a memory error that cannot be corrected",
        62 | 119 | 120 => "its firmware stopped",
        63 | 64 => "memory was retired, or could not be",
        68 => "an exception of the video processor",
        74 => "a fault of NVLink",
        79 => "it has fallen off the bus",
        94 | 95 => "a memory error",
        109 => "switching between programs took too long",
        154 => "it needs a reset",
        _ => "see NVIDIA's list of XIDs",
    }
}

#[cfg(test)]
mod tests {
    use super::{BTreeSet, Faults, Out};

    const STEPS: [u64; 3] = [600_000, 3_600_000, 21_600_000];

    fn out(faults: &Faults) -> Option<Out> {
        faults.out("gpu").map(|record| record.out)
    }

    #[test]
    fn it_is_tried_again_after_ever_longer_times_and_then_by_hand() {
        let (mut faults, well) = (Faults::default(), BTreeSet::from(["gpu"]));
        let mut now_ms = 1_000;
        for step in STEPS {
            assert!(faults.strike("gpu", 79, now_ms, &STEPS));
            assert!(!faults.strike("gpu", 48, now_ms, &STEPS), "it is out already");
            let until_ms = now_ms + step as i64;
            assert_eq!(out(&faults), Some(Out::Until(until_ms)));
            faults.probe(&well, until_ms - 1, &STEPS);
            assert!(out(&faults).is_some());
            faults.probe(&well, until_ms, &STEPS);
            assert_eq!(out(&faults), None);
            now_ms = until_ms + 1;
        }
        assert!(faults.strike("gpu", 79, now_ms, &STEPS));
        assert_eq!(out(&faults), Some(Out::ForGood));
        faults.probe(&well, i64::MAX, &STEPS);
        assert_eq!(out(&faults), Some(Out::ForGood));
        faults.forgive("gpu", now_ms - 1);
        assert!(out(&faults).is_some(), "it was said before");
        faults.forgive("gpu", now_ms);
        assert_eq!(out(&faults), None);
        assert!(faults.strike("gpu", 79, now_ms, &STEPS));
        assert_eq!(out(&faults), Some(Out::Until(now_ms + 600_000)), "as if it were the first");
    }

    #[test]
    fn one_that_cannot_be_read_stays_out() {
        let mut faults = Faults::default();
        faults.strike("gpu", 79, 0, &STEPS);
        faults.probe(&BTreeSet::new(), 600_000, &STEPS);
        assert_eq!(out(&faults), Some(Out::Until(600_000 + 3_600_000)));
    }

    #[test]
    fn after_a_week_without_one_a_fault_is_the_first() {
        let (mut faults, well) = (Faults::default(), BTreeSet::from(["gpu"]));
        faults.strike("gpu", 79, 0, &STEPS);
        faults.probe(&well, 600_000, &STEPS);
        let later = super::FORGOTTEN_AFTER_MS + 1;
        faults.strike("gpu", 79, later, &STEPS);
        assert_eq!(out(&faults), Some(Out::Until(later + 600_000)));
    }
}
