//! What programs write down of themselves, in a file to which all of them append.
//!
//! A line is `<task> <attempt> <pid> start|save|end <step>:<attempt>`, written by one `write`, so
//! that a kill leaves all of it or nothing. What it starts from, saves or returns is a [`Mark`].

use std::{fmt, str::FromStr};

/// What a program of a checked run saves as its context and returns as its result: how many steps
/// are done, and which attempt did the last of them. So that whoever reads it knows who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    pub step: i64,
    pub attempt: i32,
}

impl Mark {
    /// From a JSON text such as `"3:1"`; `None` when it is empty or something else.
    pub fn of(content: &[u8]) -> Option<Self> {
        std::str::from_utf8(content).ok()?.trim().trim_matches('"').parse().ok()
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.step, self.attempt)
    }
}

impl FromStr for Mark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(step, attempt)| {
            Some(Self { step: step.parse().ok()?, attempt: attempt.parse().ok()? })
        });
        parts.ok_or_else(|| format!("{text:?} is no mark"))
    }
}

/// What a program was about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It goes on from this.
    Start(Mark),
    /// It saves this.
    Save(Mark),
    /// It returns this.
    End(Mark),
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// From 1.
    pub line: usize,
    pub task: String,
    pub attempt: i32,
    pub pid: u32,
    pub what: What,
}

/// Reads the file.
///
/// # Errors
/// A line that is none, by its number.
pub fn read_records(text: &str) -> Result<Vec<Record>, String> {
    let read = |(at, line): (usize, &str)| {
        read_record(at + 1, line).ok_or_else(|| format!("line {}: {line:?} is no record", at + 1))
    };
    text.lines().enumerate().map(read).collect()
}

fn read_record(line: usize, text: &str) -> Option<Record> {
    let words: Vec<&str> = text.split(' ').collect();
    let [task, attempt, pid, what, mark] = words[..] else { return None };
    let mark = mark.parse().ok()?;
    let what = match what {
        "start" => What::Start(mark),
        "save" => What::Save(mark),
        "end" => What::End(mark),
        _ => return None,
    };
    let (attempt, pid) = (attempt.parse().ok()?, pid.parse().ok()?);
    Some(Record { line, task: task.to_owned(), attempt, pid, what })
}
