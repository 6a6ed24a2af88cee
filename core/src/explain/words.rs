//! Amounts and lists, for people.

use super::Process;
use crate::{reason::FailureReason, resources::Resources};

/// Names of a list that are told.
const NAMES_MAX: usize = 5;
/// How much of a command line is told in a sentence.
const COMMAND_CHARS_MAX: usize = 60;

/// A span of time, in its largest unit.
pub(super) fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Bytes, in their largest binary unit, to a tenth.
pub(super) fn bytes(bytes: i64) -> String {
    let mut value = bytes.max(0) as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if value < 1_024.0 {
            break;
        }
        (value, unit) = (value / 1_024.0, next);
    }
    let text = format!("{value:.1}");
    format!("{} {unit}", text.trim_end_matches(".0"))
}

/// Cores, from thousandths.
pub(super) fn cores(millis: i64) -> String {
    let cores = millis.max(0) as f64 / 1_000.0;
    format!("{cores} {}", if millis == 1_000 { "core" } else { "cores" })
}

pub(super) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// `a, b and 3 more`
pub(super) fn list(names: &[String]) -> String {
    let (shown, rest) = names.split_at(names.len().min(NAMES_MAX));
    match (shown, rest.len()) {
        ([], _) => String::new(),
        ([one], 0) => one.clone(),
        ([most @ .., last], 0) => format!("{} and {last}", most.join(", ")),
        (shown, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A reason for a failure: `OutOfMemory` is `out of memory`.
pub(super) fn reason(reason: FailureReason) -> String {
    let mut words = String::new();
    for letter in format!("{reason:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// What a task needs.
pub(super) fn needs(needs: &Resources) -> String {
    let mut parts = Vec::new();
    let model =
        if needs.gpu_model.is_empty() { String::new() } else { format!(" ({})", needs.gpu_model) };
    match needs.gpus {
        0 if needs.gpu_memory_bytes > 0 => {
            parts.push(format!("{} of one GPU{model}", bytes(needs.gpu_memory_bytes)));
        }
        0 => {}
        1 => parts.push(format!("1 GPU{model}")),
        n => parts.push(format!("{n} GPUs{model} on one host")),
    }
    if needs.cpu_millis > 0 {
        parts.push(cores(needs.cpu_millis));
    }
    if needs.memory_bytes > 0 {
        parts.push(format!("{} of memory", bytes(needs.memory_bytes)));
    }
    if parts.is_empty() { "a slot".to_owned() } else { list(&parts) }
}

/// A process that the worker did not start: `pid 4242 (bob, python train.py) since 2 d`.
pub(super) fn process(process: &Process, now_ms: i64) -> String {
    let command: String = process.command.chars().take(COMMAND_CHARS_MAX).collect();
    let who = [process.user.as_str(), command.as_str()];
    let who: Vec<&str> = who.into_iter().filter(|part| !part.is_empty()).collect();
    let who = if who.is_empty() { String::new() } else { format!(" ({})", who.join(", ")) };
    let since = process.since_ms.map(|since_ms| format!(" since {}", span(now_ms - since_ms)));
    format!("pid {}{who}{}", process.pid, since.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        assert_eq!(span(119_999), "119 s");
        assert_eq!(span(120_000), "2 min");
        assert_eq!(span(7_200_000), "2 h");
        assert_eq!(span(172_800_000), "2 d");
        assert_eq!(span(-5), "0 s");
        assert_eq!(bytes(20 << 30), "20 GiB");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(642 << 20), "642 MiB");
        assert_eq!((cores(1_000), cores(500)), ("1 core".into(), "0.5 cores".into()));
        assert_eq!(reason(FailureReason::GpuOutOfMemory), "gpu out of memory");
    }

    #[test]
    fn lists_are_cut() {
        let names = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(list(&names(0)), "");
        assert_eq!(list(&names(1)), "0");
        assert_eq!(list(&names(3)), "0, 1 and 2");
        assert_eq!(list(&names(7)), "0, 1, 2, 3, 4 and 2 more");
    }
}
