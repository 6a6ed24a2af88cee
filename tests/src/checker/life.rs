//! All that is known of one task, side by side.

use std::collections::BTreeMap;

use super::history::{Attempt, Fault, History, Row, Told};
use super::record::{Mark, Record, What};

/// A task, from every side.
pub struct Life<'a> {
    pub id: &'a str,
    /// In the tables in the end, unless it is not there.
    pub row: Option<&'a Row>,
    /// What was seen of it, in the order in which the calls were invoked, and the row in the end.
    pub sights: Vec<Sight<'a>>,
    /// Ended attempts in the order of their numbers.
    pub attempts: Vec<&'a Attempt>,
    pub records: Vec<&'a Record>,
    pub faults: &'a [Fault],
}

/// What was seen of a task at some moment between two.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    /// Which call it was; `None` = the tables in the end.
    pub call: Option<usize>,
    pub invoked: u64,
    pub returned: u64,
    pub row: &'a Row,
}

impl Sight<'_> {
    /// Where it was seen, for people.
    pub fn place(&self) -> String {
        match self.call {
            Some(call) => format!("call {call}"),
            None => "the tables".to_owned(),
        }
    }

    /// Whether it is certain that this was seen before the other.
    pub fn is_before(&self, other: &Self) -> bool {
        self.returned < other.invoked
    }
}

impl Life<'_> {
    /// Pairs of sights of which the first was certainly seen before the second, each with its
    /// neighbours only.
    pub fn steps(&self) -> impl Iterator<Item = (Sight<'_>, Sight<'_>)> {
        let later = |at: usize, one: Sight<'_>| {
            self.sights[at + 1..].iter().copied().find(|next| one.is_before(next))
        };
        let sights = self.sights.iter().copied().enumerate();
        sights.filter_map(move |(at, one)| Some((one, later(at, one)?)))
    }

    /// Where attempts began, with the lines.
    pub fn starts(&self) -> impl Iterator<Item = (&Record, Mark)> {
        self.records.iter().filter_map(|record| match record.what {
            What::Start(mark) => Some((*record, mark)),
            What::Save(_) | What::End(_) => None,
        })
    }
}

/// The lives of all tasks that anybody knows of.
pub fn all(history: &History) -> Vec<Life<'_>> {
    let mut lives: BTreeMap<&str, Life<'_>> = BTreeMap::new();
    let of = |id, faults| Life {
        id,
        row: None,
        sights: Vec::new(),
        attempts: Vec::new(),
        records: Vec::new(),
        faults,
    };
    for (at, call) in history.calls.iter().enumerate() {
        let Told::Ok(Some(row)) = &call.told else { continue };
        let life = lives.entry(&row.id).or_insert_with(|| of(&row.id, &history.faults));
        let (invoked, returned) = (call.invoked, call.returned);
        life.sights.push(Sight { call: Some(at), invoked, returned, row });
    }
    for row in &history.rows {
        let life = lives.entry(&row.id).or_insert_with(|| of(&row.id, &history.faults));
        life.row = Some(row);
        life.sights.push(Sight { call: None, invoked: u64::MAX, returned: u64::MAX, row });
    }
    for attempt in &history.attempts {
        let life = lives.entry(&attempt.task).or_insert_with(|| of(&attempt.task, &history.faults));
        life.attempts.push(attempt);
    }
    for record in &history.records {
        let life = lives.entry(&record.task).or_insert_with(|| of(&record.task, &history.faults));
        life.records.push(record);
    }
    let mut lives: Vec<Life<'_>> = lives.into_values().collect();
    lives.iter_mut().for_each(|life| life.attempts.sort_by_key(|attempt| attempt.attempt));
    lives
}
