//! What the protocol's messages look like in JSON and in tables.
//!
//! JSON has the protocol's field names, enums without their prefix, times in RFC 3339, spans as
//! `3.5s`, contents as text or base64. Every key is always there, `null` when unset, so that
//! scripts need not ask.

pub mod archive;
pub mod attempt;
pub mod command;
pub mod content;
pub mod count;
pub mod explanation;
pub mod governor;
pub mod gpu;
pub mod hold;
pub mod host;
pub mod log;
pub mod operation;
pub mod resources;
pub mod schedule;
pub mod shard;
pub mod task;
pub mod task_type;
pub mod usage;
pub mod worker;
pub mod workflow;
pub mod workflow_drawing;
pub mod workflow_graph;
pub mod workflow_item;

/// `TASK_STATE_RUNNING` → `RUNNING`; a number that this program does not know stays a number.
fn enum_name(known: Result<&'static str, i32>, prefix: &str) -> String {
    match known {
        Ok(name) => name.strip_prefix(prefix).unwrap_or(name).to_owned(),
        Err(number) => number.to_string(),
    }
}

/// `k=v k=v`.
fn pairs(map: impl IntoIterator<Item = (impl AsRef<str>, impl std::fmt::Display)>) -> String {
    let pairs: Vec<String> =
        map.into_iter().map(|(key, value)| format!("{}={value}", key.as_ref())).collect();
    pairs.join(" ")
}

/// Empty for people where nothing was said.
fn unless_zero(number: impl Into<i64>) -> String {
    let number = number.into();
    if number == 0 { String::new() } else { number.to_string() }
}

/// `1.5 MiB`, for people; empty where nothing is known.
pub fn bytes_for_people(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    match (bytes, unit) {
        (..=0, _) => String::new(),
        (_, 0) => format!("{bytes} B"),
        _ => format!("{size:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        for (bytes, text) in [
            (0, ""),
            (1, "1 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (3 << 30, "3.0 GiB"),
            (5 << 50, "5120.0 TiB"),
        ] {
            assert_eq!(bytes_for_people(bytes), text);
        }
    }
}
