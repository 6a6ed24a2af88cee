//! What was done in a play, in the order in which it was done, told by everybody who took part.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use asyncflow_core::{event::Fence, task::Task};

/// One thing that somebody did or learned.
#[allow(dead_code, reason = "people read all of it, by Debug")]
#[derive(Debug)]
pub enum Fact {
    /// A client asks for a task, for the first time or again.
    Asked { request: String },
    /// It was answered.
    Created { request: String, task: String },
    /// A client saw that a task has ended.
    Seen { task: String, state: String, result: String },
    /// The database has a new row.
    Made { request: String, task: String },
    /// The database has changed a row.
    Changed(Box<Change>),
    /// A handler begins, and finds so many stages done.
    Began { task: String, attempt: i32, process: u32, done: u32 },
    /// A save was answered.
    Saved { task: String, attempt: i32, done: u32 },
    /// A worker has an outcome and will tell it.
    Told { task: String, attempt: i32, end: String },
    /// That was answered.
    Confirmed { task: String, attempt: i32 },
    /// That was refused for good.
    Rejected { task: String, attempt: i32, why: String },
    /// The database cannot be reached from now on, or can be again.
    DatabaseIsAway(bool),
    /// What was done to the network or a host.
    Fault(String),
}

/// A row before and after an event.
#[derive(Debug)]
pub struct Change {
    pub event: &'static str,
    /// The lease that the worker named, whatever was compared.
    pub asked: Option<Fence>,
    pub before: Task,
    pub after: Task,
    /// What was saved by it.
    pub context: Option<String>,
    pub result: Option<String>,
    /// A rule of the state machine that it breaks.
    pub broken: Option<&'static str>,
}

impl Change {
    pub fn task(&self) -> String {
        self.after.id.to_string()
    }
}

#[derive(Default)]
pub struct History(Mutex<Vec<(i64, Fact)>>);

impl History {
    pub fn note(&self, at_ms: i64, fact: Fact) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((at_ms, fact));
    }

    pub fn take(&self) -> Vec<(i64, Fact)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One line, for people and for [`hash`].
pub fn line(at_ms: i64, fact: &Fact) -> String {
    let Fact::Changed(change) = fact else { return format!("{at_ms} {fact:?}") };
    let Change { event, before, after, context, result, .. } = &**change;
    format!(
        "{at_ms} {} {event}: {} to {}, attempt {} of session {}, context {} {context:?}, \
         revision {}, result {result:?}",
        after.id,
        before.state,
        after.state,
        after.attempt,
        after.holder.session_id,
        after.context_version,
        after.revision,
    )
}

/// Two plays with the same hash were the same.
pub fn hash(facts: &[(i64, Fact)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    facts.iter().for_each(|(at_ms, fact)| line(*at_ms, fact).hash(&mut hasher));
    hasher.finish()
}
