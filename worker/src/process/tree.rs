//! Finding and killing all that belongs together.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io::Read,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Rounds of look-and-kill: a process that forks faster than it is found loses in the end.
const ROUNDS_MAX: u32 = 300;
const ROUND_PAUSE: Duration = Duration::from_millis(10);
const DEPTH_MAX: usize = 4_096;
/// More than a line of numbers and a name of at most 64 bytes.
const STAT_BYTES_MAX: usize = 2_048;

/// An environment variable that marks descendants, as it stands in /proc/<pid>/environ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVariable(Vec<u8>);

impl EnvVariable {
    /// The variable `name` with this value.
    pub fn new(name: &str, value: &str) -> Self {
        Self(format!("{name}={value}").into_bytes())
    }

    /// Whether the process was started with it.
    pub fn is_carried_by(&self, pid: i32) -> bool {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == self.0)
    }
}

/// Who belongs to it: whoever has one of these signs. Never the process that looks.
#[derive(Clone, Debug, Default)]
pub struct Family {
    /// This one.
    pub pid: Option<i32>,
    /// Whoever descends from this one, which does not count itself.
    pub ancestor: Option<i32>,
    /// Whoever is in this one's session.
    pub session: Option<i32>,
    /// Whoever carries this,
    pub variable: Option<EnvVariable>,
    /// but none of these.
    pub spared: Vec<EnvVariable>,
}

impl Family {
    /// Nobody can belong to it: to look for them costs a look at all processes.
    fn has_no_sign(&self) -> bool {
        self.pid.or(self.ancestor).or(self.session).is_none() && self.variable.is_none()
    }
}

/// Kills every process of the family until none is left. Returns how many were killed; an error
/// holds those that would not die. Blocks.
///
/// # Errors
/// Process ids that are still there after three seconds (in uninterruptible sleep).
pub fn kill_family(family: &Family) -> Result<usize, Vec<i32>> {
    if family.has_no_sign() {
        return Ok(0);
    }
    let mut killed = BTreeSet::new();
    let mut found = Vec::new();
    for _ in 0..ROUNDS_MAX {
        found = find(family);
        if found.is_empty() {
            return Ok(killed.len());
        }
        for pid in &found {
            // It may have ended since; a number is not given out again that soon.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        killed.extend(found.iter().copied());
        std::thread::sleep(ROUND_PAUSE);
    }
    Err(found)
}

fn find(family: &Family) -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        entry.file_name().to_str()?.parse::<i32>().ok().filter(|pid| *pid != own)
    });
    let stats: HashMap<i32, Stat> = pids.filter_map(|pid| Some((pid, Stat::read(pid)?))).collect();
    let descends = |mut pid: i32| {
        let Some(ancestor) = family.ancestor else { return false };
        for _ in 0..DEPTH_MAX {
            match stats.get(&pid) {
                Some(stat) if stat.parent == ancestor => return true,
                Some(stat) => pid = stat.parent,
                None => return false,
            }
        }
        false
    };
    let belongs = |pid: i32, stat: &Stat| {
        family.pid == Some(pid)
            || family.session == Some(stat.session)
            || descends(pid)
            || family.variable.as_ref().is_some_and(|variable| {
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                let has = |sought: &EnvVariable| {
                    environment.split(|byte| *byte == 0).any(|entry| entry == sought.0)
                };
                has(variable) && !family.spared.iter().any(has)
            })
    };
    let living = stats.iter().filter(|(_, stat)| !stat.is_dead());
    living.filter(|(pid, stat)| belongs(**pid, stat)).map(|(pid, _)| *pid).collect()
}

/// All that descend from a process, by what the kernel lists of its children; empty where it does
/// not. Costs only what the tree is large.
pub fn children_of(pid: i32) -> Vec<i32> {
    let mut found = Vec::new();
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            let children = text.split_whitespace().filter_map(|text| text.parse::<i32>().ok());
            open.extend(children.clone());
            found.extend(children);
        }
        if found.len() > DEPTH_MAX {
            break;
        }
    }
    found
}

/// What is needed of /proc/<pid>/stat.
pub(super) struct Stat {
    pub state: char,
    pub parent: i32,
    pub session: i32,
    /// Time on cores of its own, in clock ticks,
    pub own_ticks: u64,
    /// and of its ended children that were waited for, with theirs.
    pub waited_ticks: u64,
    /// Since boot; with the pid it names a process for good.
    pub start_ticks: u64,
}

impl Stat {
    pub fn read(pid: i32) -> Option<Self> {
        // All processes are asked: one read for each, and no memory.
        let mut buffer = [0; STAT_BYTES_MAX];
        let count = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut buffer).ok()?;
        Self::parse(std::str::from_utf8(buffer.get(..count)?).ok()?)
    }

    /// It runs no more, and only waits to be asked how it ended.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    fn parse(text: &str) -> Option<Self> {
        // The name may hold spaces and brackets; the last bracket ends it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |place: usize| fields.get(place)?.parse::<u64>().ok();
        let sum = |one, other| Some(ticks(one)?.saturating_add(ticks(other)?));
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            own_ticks: sum(11, 12)?,
            waited_ticks: sum(13, 14).unwrap_or_default(),
            start_ticks: ticks(19)?,
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
        assert_eq!((stat.parent, stat.own_ticks, stat.waited_ticks), (1, 11, 15));
        assert!(Stat::read(i32::try_from(std::process::id()).unwrap()).is_some());
    }
}
