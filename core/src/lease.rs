//! Two looks: when a lease that has run out is really taken back.
//!
//! That a lease has expired by the database's clock is only a suspicion: the clock may have jumped,
//! or nobody could renew because the database was away. So the governor looks again, at least one
//! and a half heartbeats later on its own monotonic clock, and takes the task back only if it is
//! still expired and no heartbeat came in between. While it cannot look, no time passes: an outage
//! makes all suspicions begin anew.
//!
//! A task that was handed out and never started is taken back at the first look: nothing runs that
//! could be lost, and no counter moves.

use std::collections::HashMap;

use crate::{id::TaskId, limits::LEASE_MS_MAX};

/// Whether a lease that ends at `ends_ms` is in force no more: it has run out, or it lasts longer
/// than leases are given for, so that the clock by which it was given has gone back since. Who
/// still holds that one renews it at the next heartbeat.
pub fn is_out_of_force(ends_ms: i64, now_ms: i64) -> bool {
    ends_ms < now_ms || ends_ms.saturating_sub(now_ms) > LEASE_MS_MAX
}

/// A leased task whose lease is in force no more by the database's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    pub id: TaskId,
    pub attempt: i32,
    /// The holder's heartbeats so far.
    pub beats: i64,
    /// Its worker said that it runs.
    pub started: bool,
}

/// What earlier looks saw. One per governor; nothing of it is stored, a new leader begins anew.
#[derive(Debug)]
pub struct LookBook {
    look_interval_ms: i64,
    apart_ms: i64,
    gap_ms_max: i64,
    suspects_max: usize,
    last_look_ms: Option<i64>,
    seen: HashMap<TaskId, Sighting>,
}

#[derive(Clone, Copy, Debug)]
struct Sighting {
    attempt: i32,
    beats: i64,
    first_ms: i64,
}

impl LookBook {
    /// `heartbeat_ms` is how often workers renew, `look_interval_ms` how often [`Self::look`] is
    /// going to be called. At most `suspects_max` suspicions are remembered; those beyond wait
    /// until there is room.
    pub fn new(heartbeat_ms: i64, look_interval_ms: i64, suspects_max: usize) -> Self {
        let mut book = Self {
            look_interval_ms,
            apart_ms: 0,
            gap_ms_max: 0,
            suspects_max,
            last_look_ms: None,
            seen: HashMap::new(),
        };
        book.set_heartbeat(heartbeat_ms);
        book
    }

    /// From now on workers are taken to renew so often; what was seen so far stays.
    pub fn set_heartbeat(&mut self, heartbeat_ms: i64) {
        self.apart_ms = heartbeat_ms.saturating_add(heartbeat_ms / 2);
        // Short of 1.5 heartbeats, so that workers always had time to renew while we could
        // look; not shorter than a busy machine needs when intervals are small.
        self.gap_ms_max = self.look_interval_ms.saturating_mul(2).max(heartbeat_ms);
    }

    /// Takes *all* suspects that the database answered with just now and gives back those to be
    /// taken back. `now_ms` is monotonic, of any origin. Those given back stay in the book until
    /// they are no suspects any more, so that a reap that failed is tried again at the next look.
    pub fn look<'a>(&mut self, suspects: &'a [Suspect], now_ms: i64) -> Vec<&'a Suspect> {
        let away = self.last_look_ms.is_some_and(|last_ms| now_ms - last_ms > self.gap_ms_max);
        if away {
            self.interrupted();
        }
        self.last_look_ms = Some(now_ms);
        let mut before = std::mem::take(&mut self.seen);
        let mut reap = Vec::new();
        for suspect in suspects {
            let known = before
                .remove(&suspect.id)
                .filter(|seen| (seen.attempt, seen.beats) == (suspect.attempt, suspect.beats));
            let sighting = known.unwrap_or(Sighting {
                attempt: suspect.attempt,
                beats: suspect.beats,
                first_ms: now_ms,
            });
            if !suspect.started || now_ms - sighting.first_ms >= self.apart_ms {
                reap.push(suspect);
            }
            if known.is_some() || self.seen.len() < self.suspects_max {
                self.seen.insert(suspect.id.clone(), sighting);
            }
        }
        reap
    }

    /// The database did not answer, or this governor did not lead: every suspicion begins anew.
    pub fn interrupted(&mut self) {
        self.seen.clear();
        self.last_look_ms = None;
    }

    /// How many suspicions are open.
    pub fn suspicions(&self) -> usize {
        self.seen.len()
    }
}

/// The name under which a broker counts. It says how often the workers renew that have registered
/// with it, so that no governor has to be told the same in its own settings.
pub fn broker_id(unique: u128, heartbeat_ms: i64) -> String {
    format!("{unique:032x}-{heartbeat_ms}")
}

/// How often workers of this broker renew; none where the name is one of an older release.
pub fn heartbeat_ms_of(broker_id: &str) -> Option<i64> {
    let (_, heartbeat_ms) = broker_id.split_once('-')?;
    heartbeat_ms.parse().ok().filter(|ms| (1..=LEASE_MS_MAX).contains(ms))
}

/// Whether brokers serve, told by counters that live ones raise. While none does, no heartbeat can
/// arrive, and that a lease has run out says nothing about its worker.
#[derive(Debug, Default)]
pub struct BrokerWatch {
    beats: Vec<(String, i64)>,
    moved_ms: i64,
}

impl BrokerWatch {
    /// Whether no counter has moved for `heartbeat_ms`, how often workers renew. `beats` are the
    /// counters by broker; none means that no broker ever counted, which says nothing and is
    /// `false`. `now_ms` is monotonic.
    pub fn is_away(&mut self, beats: Vec<(String, i64)>, heartbeat_ms: i64, now_ms: i64) -> bool {
        if self.beats != beats {
            (self.beats, self.moved_ms) = (beats, now_ms);
        }
        !self.beats.is_empty() && now_ms.saturating_sub(self.moved_ms) > heartbeat_ms
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const HEARTBEAT_MS: i64 = 10_000;
    const LOOK_MS: i64 = 5_000;

    fn book() -> LookBook {
        LookBook::new(HEARTBEAT_MS, LOOK_MS, 1_000)
    }

    fn suspect(number: i32, attempt: i32, beats: i64) -> Suspect {
        let id = format!("train-{number}-0000000000000").parse().unwrap();
        Suspect { id, attempt, beats, started: true }
    }

    #[test]
    fn a_lease_of_a_time_to_come_is_out_of_force() {
        let at = |ends_ms| is_out_of_force(ends_ms, 1_000);
        assert_eq!([at(999), at(1_000), at(1_000 + LEASE_MS_MAX)], [true, false, false]);
        assert!(at(1_001 + LEASE_MS_MAX) && is_out_of_force(i64::MAX, -1) && at(i64::MIN));
    }

    #[test]
    fn a_silent_worker_is_reaped_at_the_second_look_far_enough_apart() {
        let (mut book, silent) = (book(), [suspect(1, 1, 7)]);
        assert!(book.look(&silent, 0).is_empty());
        assert!(book.look(&silent, 5_000).is_empty());
        assert!(book.look(&silent, 14_999).is_empty());
        assert_eq!(book.look(&silent, 15_000), [&silent[0]]);
        assert_eq!(book.look(&silent, 20_000).len(), 1, "a reap that failed is tried again");
    }

    #[test]
    fn a_heartbeat_or_another_attempt_begins_anew() {
        let mut book = book();
        for (step, beats) in [(0, 7), (1, 7), (2, 8), (3, 8), (4, 8)] {
            assert!(book.look(&[suspect(1, 1, beats)], step * LOOK_MS).is_empty(), "{step}");
        }
        assert!(book.look(&[suspect(1, 2, 8)], 5 * LOOK_MS).is_empty());
    }

    #[test]
    fn a_longer_heartbeat_that_is_heard_of_counts_for_what_was_seen_before() {
        let (mut book, silent) = (book(), [suspect(1, 1, 7)]);
        book.look(&silent, 0);
        book.set_heartbeat(2 * HEARTBEAT_MS);
        assert!(book.look(&silent, 15_000).is_empty() && book.look(&silent, 29_999).is_empty());
        assert_eq!(book.look(&silent, 30_000), [&silent[0]]);
    }

    #[test]
    fn a_brokers_name_says_how_often_its_workers_renew() {
        let longest = broker_id(u128::MAX, LEASE_MS_MAX);
        assert!(longest.len() <= 64 && heartbeat_ms_of(&longest) == Some(LEASE_MS_MAX));
        for older in ["", "b1", "0123456789abcdef", "x-", "x-0", "x--5", "x-99999999999999999999"] {
            assert_eq!(heartbeat_ms_of(older), None, "{older}");
        }
    }

    #[test]
    fn a_suspect_that_was_cleared_once_is_a_new_suspect() {
        let (mut book, silent) = (book(), [suspect(1, 1, 7)]);
        book.look(&silent, 0);
        book.look(&[], 5_000);
        assert_eq!(book.suspicions(), 0);
        assert!(book.look(&silent, 15_000).is_empty());
    }

    #[test]
    fn an_outage_of_the_database_gives_everybody_time() {
        let (mut book, silent) = (book(), [suspect(1, 1, 7)]);
        book.look(&silent, 0);
        // Five minutes without a look: nobody could renew either.
        assert!(book.look(&silent, 300_000).is_empty());
        assert!(book.look(&silent, 310_000).is_empty());
        assert_eq!(book.look(&silent, 315_000).len(), 1);

        let mut told = self::book();
        told.look(&silent, 0);
        told.look(&silent, 10_000);
        told.interrupted();
        assert!(told.look(&silent, 16_000).is_empty());
    }

    #[test]
    fn what_was_never_started_goes_back_at_once() {
        let handed_out = [Suspect { started: false, ..suspect(1, 1, 0) }];
        assert_eq!(book().look(&handed_out, 0).len(), 1);
    }

    #[test]
    fn the_book_is_bounded_and_nobody_starves() {
        let mut book = LookBook::new(HEARTBEAT_MS, LOOK_MS, 2);
        let mut silent = vec![suspect(1, 1, 0), suspect(2, 1, 0), suspect(3, 1, 0)];
        let mut reaped = 0;
        for step in 0..20 {
            let gone: Vec<_> = book.look(&silent, step * LOOK_MS).into_iter().cloned().collect();
            assert!(book.suspicions() <= 2);
            reaped += gone.len();
            silent.retain(|suspect| !gone.contains(suspect));
        }
        assert_eq!(reaped, 3);
    }
}
