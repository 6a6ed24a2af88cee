//! Finding and killing all that descends from a process.

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Rounds of look-and-kill: a process that forks faster than it is found loses in the end.
const ROUNDS_MAX: u32 = 300;
const ROUND_PAUSE: Duration = Duration::from_millis(10);

/// An environment variable that marks descendants, as it stands in /proc/<pid>/environ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVariable(Vec<u8>);

impl EnvVariable {
    /// The variable `name` with this value.
    pub fn new(name: &str, value: &str) -> Self {
        Self(format!("{name}={value}").into_bytes())
    }
}

/// Kills every process that is in the session of `leader` (if given) or carries `variable`, until
/// none is left. Returns how many were killed; an error holds those that would not die.
///
/// # Errors
/// Process ids that are still there after three seconds (in uninterruptible sleep).
pub async fn kill_tree(leader: Option<i32>, variable: EnvVariable) -> Result<usize, Vec<i32>> {
    let mut killed = std::collections::BTreeSet::new();
    let mut found = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let variable = variable.clone();
        let looking = tokio::task::spawn_blocking(move || find_and_kill(leader, &variable));
        found = looking.await.unwrap_or_default();
        if found.is_empty() {
            return Ok(killed.len());
        }
        killed.extend(found.iter().copied());
        tokio::time::sleep(ROUND_PAUSE).await;
    }
    Err(found)
}

fn find_and_kill(leader: Option<i32>, variable: &EnvVariable) -> Vec<i32> {
    let own = std::process::id();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        (pid != own).then_some(pid)
    });
    let matching: Vec<i32> = pids
        .filter_map(|pid| i32::try_from(pid).ok())
        .filter(|pid| belongs(*pid, leader, variable))
        .collect();
    for pid in &matching {
        // It may have ended since; a number is not given out again that soon.
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    matching
}

fn belongs(pid: i32, leader: Option<i32>, variable: &EnvVariable) -> bool {
    let Some(stat) = Stat::read(pid) else { return false };
    if matches!(stat.state, 'Z' | 'X') {
        return false;
    }
    if leader.is_some_and(|leader| leader == stat.session) {
        return true;
    }
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == variable.0)
}

/// What is needed of /proc/<pid>/stat.
pub(super) struct Stat {
    pub state: char,
    pub session: i32,
    /// Since boot; with the pid it names a process for good.
    pub start_ticks: u64,
}

impl Stat {
    pub fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name may hold spaces and brackets; the last bracket ends it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            session: fields.get(3)?.parse().ok()?,
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::Stat;

    #[test]
    fn reads_stat_also_of_a_process_with_a_wild_name() {
        let line = "42 (a) b) S 1 42 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1 2";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.session, stat.start_ticks), ('S', 7, 9_876));
        assert!(Stat::read(i32::try_from(std::process::id()).unwrap()).is_some());
    }
}
