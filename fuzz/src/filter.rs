//! A filter that is read can be written out and read as the same; one that is refused is told in
//! few words, at the field `filter`.

use std::fmt::Write as _;

use asyncflow_core::{
    filter::{Filter, parse},
    limits::FILTER_BYTES_MAX,
    rfc3339,
    schedule::zone,
};

/// Reads the bytes as a filter.
pub fn check(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    let filter = match parse(text) {
        Ok(filter) => filter,
        Err(violation) => {
            assert_eq!(violation.field, "filter");
            assert!(violation.description.len() <= crate::TOLD_BYTES_MAX, "of {text:?}");
            return;
        }
    };
    assert!(text.len() <= FILTER_BYTES_MAX);
    // Quotes and names make it longer; and 0001-01-01T00:00+01:00 is in no year that has a name.
    if let Some(written) = written(&filter).filter(|written| written.len() <= FILTER_BYTES_MAX) {
        assert_eq!(parse(&written), Ok(filter), "{text:?} written as {written:?}");
    }
}

fn written(filter: &Filter) -> Option<String> {
    let mut conditions = Vec::new();
    let states: Vec<_> =
        filter.states.iter().map(|state| format!("state = {}", state.name())).collect();
    conditions.extend((!states.is_empty()).then(|| format!("({})", states.join(" OR "))));
    conditions.extend(filter.task_type.as_ref().map(|name| format!("task_type = {name}")));
    conditions.extend(filter.user.as_ref().map(|user| format!("user = {}", quoted(user))));
    for (key, value) in &filter.labels {
        conditions.push(format!("labels.{key} = {}", quoted(value)));
    }
    for (operator, time_ms) in [(">=", filter.created_from_ms), ("<", filter.created_before_ms)] {
        let Some(time_ms) = time_ms else { continue };
        let time = zone::rfc3339(time_ms);
        rfc3339::parse_ms(&time)?;
        conditions.push(format!("create_time {operator} {}", quoted(&time)));
    }
    Some(conditions.join(" AND "))
}

fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        let escape = if matches!(c, '"' | '\\') { "\\" } else { "" };
        let _ = write!(text, "{escape}{c}");
    }
    text.push('"');
    text
}
