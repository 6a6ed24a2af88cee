//! The verdict over a play, from what everybody has noted down: rules that hold whatever was done.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::task::FullTask;
use serde::{Deserialize, Serialize};

use super::{
    history::{Change, Fact},
    times::{HEARTBEAT_MS, LEASE_MS, LOOK_MS},
};

/// How much there was to judge.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Of clients, and of them those that had to be repeated.
    pub creates: usize,
    pub creates_repeated: usize,
    pub attempts: usize,
    pub saves: usize,
    /// Tasks that were taken back from workers that were not heard of.
    pub reaps: usize,
    /// Attempts that began with what an earlier one had saved.
    pub resumed: usize,
    pub adopted: usize,
    /// Outcomes that were refused because another attempt was in force.
    pub rejected: usize,
    pub cancelled: usize,
    pub succeeded: usize,
    pub processes: usize,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.creates += other.creates;
        self.creates_repeated += other.creates_repeated;
        self.attempts += other.attempts;
        self.saves += other.saves;
        self.reaps += other.reaps;
        self.resumed += other.resumed;
        self.adopted += other.adopted;
        self.rejected += other.rejected;
        self.cancelled += other.cancelled;
        self.succeeded += other.succeeded;
        self.processes += other.processes;
    }
}

/// One task, as far as the facts have come.
#[derive(Default)]
struct Life {
    /// Whose session each attempt was given to.
    given: Vec<i64>,
    /// Stages that the database has.
    saved: u32,
    renewed_ms: i64,
    end: Option<(String, String)>,
    /// Attempts whose outcome ended the task.
    ended_by: BTreeSet<i32>,
    /// Attempts whose outcome was taken.
    settled: BTreeSet<i32>,
    began: BTreeSet<i32>,
    /// Attempts that another process went on with.
    adopted: BTreeSet<i32>,
    results: BTreeMap<i32, String>,
}

#[derive(Default)]
struct Judge {
    lives: BTreeMap<String, Life>,
    /// By request: the tasks that were made of it.
    made: BTreeMap<String, Vec<String>>,
    asked: BTreeMap<String, usize>,
    told: BTreeMap<String, String>,
    /// When the database went away, and when it last came back after more than two looks.
    away_since_ms: Option<i64>,
    back_ms: i64,
    processes: BTreeSet<u32>,
    counts: Counts,
    violations: Vec<String>,
}

pub fn judge(facts: &[(i64, Fact)], rows: &[FullTask]) -> (Counts, Vec<String>) {
    let mut judge = Judge::default();
    facts.iter().for_each(|(at_ms, fact)| judge.hear(*at_ms, fact));
    judge.close(rows);
    (judge.counts, judge.violations)
}

impl Judge {
    fn rule(&mut self, holds: bool, at_ms: i64, task: &str, rule: &str) {
        if !holds {
            self.violations.push(format!("{at_ms} {task}: {rule}"));
        }
    }

    fn life(&mut self, task: &str) -> &mut Life {
        self.lives.entry(task.to_owned()).or_default()
    }

    fn hear(&mut self, at_ms: i64, fact: &Fact) {
        match fact {
            Fact::Asked { request } => *self.asked.entry(request.clone()).or_default() += 1,
            Fact::Created { request, task } => {
                let first = self.told.entry(request.clone()).or_insert_with(|| task.clone());
                let is_same = first == task;
                self.rule(is_same, at_ms, task, "a request has one task, whoever is asked");
            }
            Fact::Made { request, task } => {
                self.made.entry(request.clone()).or_default().push(task.clone());
            }
            Fact::Changed(change) => self.changed(at_ms, change),
            Fact::Began { task, attempt, process, done } => {
                self.began(at_ms, task, *attempt, *done);
                self.processes.insert(*process);
            }
            Fact::Saved { task, done, .. } => {
                let holds = self.life(task).saved >= *done;
                self.rule(holds, at_ms, task, "a save that was answered is there");
            }
            Fact::Told { task, attempt, end } => {
                if let Some(result) = end.strip_prefix("complete ") {
                    self.life(task).results.insert(*attempt, result.to_owned());
                }
            }
            Fact::Confirmed { task, attempt } => {
                let holds = self.life(task).settled.contains(attempt);
                self.rule(holds, at_ms, task, "an outcome that was confirmed was recorded");
            }
            Fact::Rejected { task, attempt, .. } => {
                self.counts.rejected += 1;
                let holds = !self.life(task).ended_by.contains(attempt);
                self.rule(holds, at_ms, task, "an end that was recorded is answered as at first");
            }
            Fact::Seen { task, state, result } => {
                let end = self.life(task).end.clone();
                let holds =
                    end.is_some_and(|(name, kept)| state.ends_with(&name) && *result == kept);
                self.rule(holds, at_ms, task, "an end that somebody saw stays");
            }
            Fact::DatabaseIsAway(true) => self.away_since_ms = Some(at_ms),
            Fact::DatabaseIsAway(false) => {
                let since_ms = self.away_since_ms.take().unwrap_or(at_ms);
                if at_ms - since_ms > 2 * LOOK_MS {
                    self.back_ms = at_ms;
                }
            }
            Fact::Fault(_) => {}
        }
    }

    fn began(&mut self, at_ms: i64, task: &str, attempt: i32, done: u32) {
        let life = self.life(task);
        let is_first = life.began.insert(attempt);
        let (is_last_save, was_given) = (done == life.saved, life.given.len() >= attempt as usize);
        // Whoever begins late, when the next one has saved already, was given less, and may not
        // write any more.
        let is_late = life.given.len() > attempt as usize && done < life.saved;
        self.rule(is_first, at_ms, task, "an attempt is run once");
        self.rule(was_given, at_ms, task, "what is run was claimed");
        let rule = "an attempt begins with what was saved last";
        self.rule(is_last_save || is_late, at_ms, task, rule);
        self.counts.resumed += usize::from(done > 0);
    }

    fn changed(&mut self, at_ms: i64, change: &Change) {
        let Change { event, before, after, .. } = change;
        let task = change.task();
        if let Some(broken) = change.broken {
            self.violations.push(format!("{at_ms} {task}: {event}: {broken}"));
        }
        let was_over = self.life(&task).end.is_some();
        self.rule(!was_over, at_ms, &task, "nothing follows the end");
        if let Some(asked) = change.asked {
            let holder = (before.attempt, before.holder.session_id);
            // The lease moves to the new session by an adoption.
            let holds = (asked.attempt, asked.session_id) == holder;
            self.rule(holds, at_ms, &task, "what is written carries attempt and session in force");
        }
        match *event {
            "Claim" => {
                let session_id = after.holder.session_id;
                let life = self.life(&task);
                life.given.push(session_id);
                let holds = life.given.len() == after.attempt as usize;
                self.rule(holds, at_ms, &task, "attempts rise by one, each is given once");
                self.counts.attempts += 1;
            }
            "SaveContext" => self.saved(at_ms, &task, change),
            "LeaseExpired" if before.start_time_ms.is_some() => self.reaped(at_ms, &task),
            "Complete" | "Fail" | "Release" => {
                self.life(&task).settled.insert(before.attempt);
            }
            "Adopt" => {
                self.counts.adopted += 1;
                self.life(&task).adopted.insert(before.attempt);
            }
            _ => {}
        }
        if after.order_time_ms > before.order_time_ms && after.state.is_leased() {
            self.life(&task).renewed_ms = at_ms;
        }
        if after.state.is_terminal() {
            self.ended(at_ms, &task, change);
        }
    }

    fn saved(&mut self, at_ms: i64, task: &str, change: &Change) {
        let Some(context) = &change.context else { return };
        let life = self.life(task);
        let before = std::mem::replace(&mut life.saved, context.parse().unwrap_or(0));
        // A process that ended while it saved does not know whether it has.
        let is_again = life.saved == before && life.adopted.contains(&change.before.attempt);
        let holds = life.saved == before + 1 || is_again;
        self.rule(holds, at_ms, task, "contexts have no gaps and do not go back");
        self.counts.saves += 1;
    }

    /// Leases last three heartbeats; the two looks are one and a half apart.
    fn reaped(&mut self, at_ms: i64, task: &str) {
        let apart_ms = HEARTBEAT_MS + HEARTBEAT_MS / 2;
        let silent_ms = at_ms - self.life(task).renewed_ms;
        let seen_ms = at_ms - self.back_ms;
        let is_fair = silent_ms >= LEASE_MS + apart_ms && seen_ms >= apart_ms;
        self.rule(is_fair, at_ms, task, "nobody loses a task but after two looks");
        self.counts.reaps += 1;
    }

    fn ended(&mut self, at_ms: i64, task: &str, change: &Change) {
        let state = change.after.state.name().to_owned();
        let result = change.result.clone().unwrap_or_default();
        let attempt = change.before.attempt;
        let life = self.life(task);
        life.end = Some((state.clone(), result.clone()));
        if change.asked.is_some() {
            life.ended_by.insert(attempt);
        }
        if state == "SUCCEEDED" {
            let holds = life.results.get(&attempt) == Some(&result);
            self.rule(holds, at_ms, task, "the result is that of the attempt that ended the task");
            self.counts.succeeded += 1;
        }
        self.counts.cancelled += usize::from(state == "CANCELLED");
    }

    /// What must be true at the end.
    fn close(&mut self, rows: &[FullTask]) {
        let mut made: BTreeMap<String, Vec<String>> = std::mem::take(&mut self.made);
        for (request, task) in std::mem::take(&mut self.told) {
            let holds = made.remove(&request).unwrap_or_default() == [task.clone()];
            self.rule(holds, 0, &task, "a create that was answered is there once");
        }
        let nobody_asked = made.keys().filter(|request| !self.asked.contains_key(*request));
        let strange: Vec<String> = nobody_asked.cloned().collect();
        self.rule(strange.is_empty(), 0, "", "nothing is made that nobody asked for");
        for row in rows.iter().filter(|row| row.task.state.is_terminal()) {
            let task = row.task.id.to_string();
            let result = row.body.result.clone().unwrap_or_default();
            let result = String::from_utf8_lossy(&result.data).into_owned();
            let end = (row.task.state.name().to_owned(), result);
            let holds = self.life(&task).end.as_ref() == Some(&end);
            self.rule(holds, 0, &task, "an end stays as it was recorded");
        }
        self.counts.creates = self.asked.len();
        self.counts.creates_repeated = self.asked.values().filter(|times| **times > 1).count();
        self.counts.processes = self.processes.len();
    }
}
