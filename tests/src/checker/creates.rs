//! Creates: what was acknowledged is there once, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::id::TaskId;

use super::{
    Report,
    history::{Call, History, Kind, Row, Told},
};

/// The answers to creates: which call, its request id and the task.
fn created(history: &History) -> impl Iterator<Item = (usize, &str, &Row)> {
    history.calls.iter().enumerate().filter_map(|(at, call)| match (&call.kind, &call.told) {
        (Kind::Create { request_id }, Told::Ok(Some(row))) => {
            Some((at, request_id.as_str(), &**row))
        }
        _ => None,
    })
}

fn deleted(history: &History) -> BTreeSet<&str> {
    let deletes = history.calls.iter().filter_map(|call| match (&call.kind, &call.told) {
        (_, Told::Refused { .. }) => None,
        (Kind::Delete { task }, _) => Some(task.as_str()),
        _ => None,
    });
    deletes.collect()
}

/// I1: a task whose create was answered is in exactly one table, once, and its id says which.
pub(super) fn acknowledged_creates_are_there_once(history: &History, report: &mut Report) {
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &history.rows {
        *rows.entry(&row.id).or_default() += 1;
        if row.id.parse::<TaskId>().is_err() {
            report.add(&row.id, "the tables hold a task whose id is none".to_owned());
        }
    }
    let deleted = deleted(history);
    let mut told = BTreeSet::new();
    for (at, request_id, row) in created(history) {
        let there = rows.get(row.id.as_str()).copied().unwrap_or_default();
        let is_lost = there == 0 && !deleted.contains(row.id.as_str());
        if (is_lost || there > 1) && told.insert(&row.id) {
            let what = format!("call {at} ({request_id}) was acknowledged, and it is there");
            report.add(&row.id, format!("{what} {there} times"));
        }
    }
}

/// I1: a task belongs to a create that was not refused.
pub(super) fn nothing_is_there_that_nobody_created(history: &History, report: &mut Report) {
    let mut asked: BTreeMap<&str, Vec<(usize, &Call)>> = BTreeMap::new();
    for (at, call) in history.calls.iter().enumerate() {
        if let Kind::Create { request_id } = &call.kind {
            asked.entry(request_id).or_default().push((at, call));
        }
    }
    for row in &history.rows {
        let calls = asked.get(row.request_id.as_str()).map(Vec::as_slice).unwrap_or_default();
        if calls.is_empty() {
            report.add(&row.id, format!("nobody made the request {:?}", row.request_id));
        } else if calls.iter().all(|(_, call)| matches!(call.told, Told::Refused { .. })) {
            let calls: Vec<usize> = calls.iter().map(|(at, _)| *at).collect();
            report.add(&row.id, format!("it is there, and was refused in calls {calls:?}"));
        }
    }
}

/// I7: one request id makes one task, and everybody who repeats it is told of that one.
pub(super) fn request_ids_are_unique(history: &History, report: &mut Report) {
    let mut made: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for (at, request_id, row) in created(history) {
        made.entry(request_id).or_default().entry(&row.id).or_insert(format!("call {at}"));
    }
    for row in &history.rows {
        let there = made.entry(&row.request_id).or_default();
        there.entry(&row.id).or_insert("the tables".to_owned());
    }
    for (request_id, ids) in made.iter().filter(|(_, ids)| ids.len() > 1) {
        let of: Vec<String> = ids.iter().map(|(id, place)| format!("{id} ({place})")).collect();
        let first = ids.keys().next().copied().unwrap_or_default();
        report.add(first, format!("request {request_id} has made {}", of.join(" and ")));
    }
}
