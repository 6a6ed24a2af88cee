//! Whose a process is.

use std::ffi::OsStr;

use asyncflow_sdk::v1::Lease;
use nix::unistd::{Uid, User};
use procfs::process::Process;

use super::Stranger;
use crate::command::MARK_VARIABLE;

/// Ancestors that are asked: a shell in a shell in a launcher is not deeper.
const ANCESTORS_MAX: usize = 32;
const COMMAND_BYTES_MAX: usize = 255;
/// Words in the path of a control group that tell of a container.
const CONTAINER_SIGNS: [&str; 5] = ["docker", "libpod", "containerd", "crio", "lxc"];

/// An attempt at a task, as a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The task.
    pub task_id: String,
    /// Its number.
    pub attempt: i32,
}

impl From<&Lease> for Attempt {
    fn from(lease: &Lease) -> Self {
        Self { task_id: lease.task_id.clone(), attempt: lease.attempt }
    }
}

/// Whose a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It has ended since.
    Gone,
    /// It was started by an attempt.
    Attempt(Attempt),
    /// This worker started it, for whom is not known.
    Worker,
    /// Somebody else started it.
    Stranger {
        /// Who.
        who: Stranger,
        /// It is in a container: if an attempt runs in one, it may be that.
        in_container: bool,
    },
}

/// Knows which processes this worker has started. It is asked on the thread that looks at GPUs, and
/// may read files.
pub trait ProcessOwners: Send + Sync + 'static {
    /// Whose the process is.
    fn owner(&self, pid: i32) -> Owner;
}

/// By the environment with which the process, the leader of its session, or one of its ancestors
/// was started.
#[derive(Debug)]
pub struct Environ {
    mark: String,
}

impl Environ {
    /// Knows the processes that carry this worker's mark.
    pub fn new(mark: impl Into<String>) -> Self {
        Self { mark: mark.into() }
    }

    /// Whom the environment of the process names, if it is one of this worker's.
    fn named(&self, process: &Process) -> Option<Owner> {
        let environment = process.environ().ok()?;
        let value = |name: &str| environment.get(OsStr::new(name))?.to_str();
        if value(MARK_VARIABLE)? != self.mark {
            return None;
        }
        let attempt = || {
            let task_id = value("ASYNCFLOW_TASK_ID")?.to_owned();
            Some(Attempt { task_id, attempt: value("ASYNCFLOW_ATTEMPT")?.parse().ok()? })
        };
        Some(attempt().map_or(Owner::Worker, Owner::Attempt))
    }
}

impl ProcessOwners for Environ {
    fn owner(&self, pid: i32) -> Owner {
        let Ok(process) = Process::new(pid) else { return Owner::Gone };
        let Ok(stat) = process.stat() else { return Owner::Gone };
        if matches!(stat.state, 'Z' | 'X' | 'x') {
            return Owner::Gone;
        }
        if let Some(owner) = self.named(&process) {
            return owner;
        }
        let leader = Process::new(stat.session).ok();
        if let Some(owner) = leader.and_then(|leader| self.named(&leader)) {
            return owner;
        }
        let mut parent = stat.ppid;
        for _ in 0..ANCESTORS_MAX {
            let Some(ancestor) = Process::new(parent).ok().filter(|_| parent > 1) else { break };
            if let Some(owner) = self.named(&ancestor) {
                return owner;
            }
            let Ok(stat) = ancestor.stat() else { break };
            parent = stat.ppid;
        }
        let who = Stranger {
            user: user(&process),
            command: command(&process, &stat.comm),
            start_ms: start_ms(stat.starttime),
        };
        Owner::Stranger { who, in_container: is_in_container(&process) }
    }
}

fn user(process: &Process) -> String {
    let Ok(uid) = process.uid() else { return String::new() };
    let named = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    named.map_or_else(|| uid.to_string(), |user| user.name)
}

fn command(process: &Process, name: &str) -> String {
    let words = process.cmdline().unwrap_or_default();
    let mut line = if words.is_empty() { format!("[{name}]") } else { words.join(" ") };
    line.truncate(line.floor_char_boundary(COMMAND_BYTES_MAX));
    line
}

fn start_ms(ticks: u64) -> Option<i64> {
    let since_boot_ms = ticks.checked_mul(1_000)? / procfs::ticks_per_second();
    let boot_ms = procfs::boot_time_secs().ok()?.checked_mul(1_000)?;
    i64::try_from(boot_ms.checked_add(since_boot_ms)?).ok()
}

fn is_in_container(process: &Process) -> bool {
    let groups = process.cgroups().map(|groups| groups.0).unwrap_or_default();
    let tells = |path: &str| CONTAINER_SIGNS.iter().any(|sign| path.contains(sign));
    groups.iter().any(|group| tells(&group.pathname))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::process::{Child, Command};

    use super::{Attempt, Environ, MARK_VARIABLE, Owner, ProcessOwners};

    fn start(script: &str, mark: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env(MARK_VARIABLE, mark);
        command.env("ASYNCFLOW_TASK_ID", "t-1-a").env("ASYNCFLOW_ATTEMPT", "3");
        command.spawn().unwrap()
    }

    fn owner_of(child: &Child, wanted: impl Fn(&Owner) -> bool) -> Owner {
        let owners = Environ::new("mine");
        // Between fork and exec the child still has the environment of the test.
        let mut owner = Owner::Gone;
        for _ in 0..500 {
            owner = owners.owner(child.id() as i32);
            if wanted(&owner) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        owner
    }

    #[test]
    fn knows_its_own_by_themselves_or_by_who_started_them() {
        let is_known = |owner: &Owner| matches!(owner, Owner::Attempt(_));
        let expected = Owner::Attempt(Attempt { task_id: "t-1-a".to_owned(), attempt: 3 });
        let mut own = start("exec sleep 100", "mine");
        assert_eq!(owner_of(&own, is_known), expected);
        let mut other = start("exec sleep 100", "theirs");
        let stranger = owner_of(&other, |owner| {
            matches!(owner, Owner::Stranger { who, .. }
            if who.command == "sleep 100")
        });
        let Owner::Stranger { who, .. } = stranger else { panic!("{stranger:?}") };
        assert!(!who.user.is_empty() && who.start_ms.is_some(), "{who:?}");
        own.kill().unwrap();
        assert_eq!(owner_of(&own, |owner| *owner == Owner::Gone), Owner::Gone);
        own.wait().unwrap();
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn a_child_with_an_empty_environment_belongs_to_its_ancestor() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("env -i setsid sleep 100 & echo $! > {}; wait", file.display());
        let mut parent = start(&script, "mine");
        let pid: i32 = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let Ok(pid) = text.trim().parse() {
                break pid;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        let owner = Environ::new("mine").owner(pid);
        assert!(matches!(owner, Owner::Attempt(_)), "{owner:?}");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
        parent.wait().unwrap();
    }
}
