//! Amounts and lists, for people.

use super::Process;
use crate::{reason::FailureReason, resources::Resources};

/// Names of a list that are told.
const NAMES_MAX: usize = 5;
/// How much of a command line is told in a sentence.
const COMMAND_CHARS_MAX: usize = 60;

/// GPUs that are told of in a sentence, those that are alike together.
pub(super) const GPU_GROUPS_MAX: usize = 3;

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

/// `a, b, and 3 more hosts`: parts that have an "and" of their own.
pub(super) fn clauses(parts: &[String]) -> String {
    let (shown, rest) = parts.split_at(parts.len().min(NAMES_MAX));
    let more = match rest.len() {
        0 => String::new(),
        more => format!(", and {}", count(more, "more host", "more hosts")),
    };
    format!("{}{more}", shown.join(", "))
}

/// What is said of one, said of several: `is cordoned` becomes `are cordoned`.
pub(super) fn plural(predicate: &str) -> String {
    let (verb, rest) = predicate.split_once(' ').unwrap_or((predicate, ""));
    let verb = match verb {
        "is" => "are",
        "was" => "were",
        "has" => "have",
        "runs" => "run",
        other => other,
    };
    format!("{verb} {rest}")
}

/// Whose it is: ` of bob`.
pub(super) fn of(user: &str) -> String {
    if user.is_empty() { String::new() } else { format!(" of {user}") }
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

/// What its GPUs must be: ` (a100, 40 GiB or more)`.
fn gpu_kind(needs: &Resources) -> String {
    let mut kind = Vec::new();
    if !needs.gpu_model.is_empty() {
        kind.push(needs.gpu_model.clone());
    }
    if needs.gpu_memory_min_bytes > 0 {
        kind.push(format!("{} or more", bytes(needs.gpu_memory_min_bytes)));
    }
    if kind.is_empty() { String::new() } else { format!(" ({})", kind.join(", ")) }
}

/// What a task needs and where.
pub(super) fn asked(wanted: &Resources) -> String {
    let mut what = needs(wanted);
    if !wanted.host.is_empty() {
        what = what.replacen(" on one host", "", 1);
    }
    if !wanted.host.is_empty() {
        what += &format!(" on the host {}", wanted.host);
    }
    if !wanted.worker_labels.is_empty() {
        what += &format!(" of a worker labelled {}", labels(wanted.worker_labels.iter()));
    }
    what
}

/// `room=3 and site=lab`
pub(super) fn labels<'a>(labels: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    list(&labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
}

/// What a task needs.
pub(super) fn needs(needs: &Resources) -> String {
    let mut parts = Vec::new();
    let model = gpu_kind(needs);
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

/// A process that the worker did not start: `pid 4242 of bob (python train.py) since 2 d`.
pub(super) fn process(process: &Process, now_ms: i64) -> String {
    let command: String = process.command.chars().take(COMMAND_CHARS_MAX).collect();
    let command = if command.is_empty() { command } else { format!(" ({command})") };
    let who = format!("{}{command}", of(&process.user));
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
