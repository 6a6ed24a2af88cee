//! Control groups, version 2: one leaf for each attempt, where this user may make them.
//!
//! ```text
//! base                    the group that systemd gave the worker (Delegate=yes), or where it is
//!   asyncflow-worker      the worker and its shims, if controllers need the base to be empty
//!   asyncflow-<attempt>   one attempt
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::load::Load;

const OWN: &str = "asyncflow-worker";
/// Of an id that no other group has in its path by chance.
const SIGN_BYTES_MIN: usize = 12;
const PERIOD_US: u64 = 100_000;
const EMPTY_TRIES: u32 = 200;
const EMPTY_PAUSE: Duration = Duration::from_millis(5);

/// Where leaves are made.
#[derive(Clone, Debug)]
pub struct Base(PathBuf);

impl Base {
    /// Finds the group of this process, tries whether it may make groups there, and hands down the
    /// controllers that it may. The error is the reason why there are none.
    ///
    /// # Errors
    /// What is missing, for people.
    pub fn open() -> Result<Self, String> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let path = place(&mounts, &own).ok_or("no control groups of version 2 are mounted")?;
        let base = if path.ends_with(OWN) { path.parent().map(Path::to_owned) } else { Some(path) };
        let base = base.ok_or("this process has no control group")?;
        let tried = base.join(format!("asyncflow-try-{}", std::process::id()));
        let made = fs::create_dir(&tried).and_then(|()| fs::remove_dir(&tried));
        made.map_err(|error| format!("{} cannot be written: {error}", base.display()))?;
        if !hand_down(&base) && is_alone(&base) {
            // Controllers are given only to the children of an empty group.
            let inner = base.join(OWN);
            let _ = fs::create_dir(&inner);
            if fs::write(inner.join("cgroup.procs"), std::process::id().to_string()).is_ok() {
                hand_down(&base);
            }
        }
        Ok(Self(base))
    }

    /// Where they are made.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Whether the two controllers are in force for the children, as far as there are any.
fn hand_down(base: &Path) -> bool {
    let offered = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
    let control = base.join("cgroup.subtree_control");
    let wanted = ["cpu", "memory"].into_iter();
    let mut wanted = wanted.filter(|name| offered.split_whitespace().any(|one| one == *name));
    wanted.all(|name| fs::write(&control, format!("+{name}")).is_ok())
}

fn is_alone(base: &Path) -> bool {
    let inside = fs::read_to_string(base.join("cgroup.procs")).unwrap_or_default();
    inside.trim() == std::process::id().to_string()
}

/// The directory of a process's group: its line in /proc/self/cgroup, below the mount.
fn place(mounts: &str, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        if right.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = left.split(' ').skip(3);
        let (root, mount) = (fields.next()?, fields.next()?);
        let below = Path::new(path).strip_prefix(root).ok()?;
        Some(Path::new(mount).join(below))
    })
}

/// What an attempt may use at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// `memory.max`.
    pub memory_bytes: Option<u64>,
    /// `cpu.max`, in cores.
    pub cpus: Option<f64>,
}

/// The group of one attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Leaf(PathBuf);

impl Leaf {
    /// Makes it, or takes it over if it is there.
    ///
    /// # Errors
    /// What the system says of the group; a limit that it does not take is left out.
    pub fn make(base: &Path, name: &str, limits: Limits) -> io::Result<Self> {
        let path = base.join(format!("asyncflow-{name}"));
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        if let Some(bytes) = limits.memory_bytes {
            let _ = fs::write(path.join("memory.max"), bytes.to_string());
            // Else a task over its limit would be slowed down for hours instead of ended.
            let _ = fs::write(path.join("memory.swap.max"), "0");
        }
        if let Some(cpus) = limits.cpus.filter(|cpus| cpus.is_finite() && *cpus > 0.0) {
            let quota = Duration::from_micros(PERIOD_US).mul_f64(cpus.min(100_000.0)).as_micros();
            let _ = fs::write(path.join("cpu.max"), format!("{} {PERIOD_US}", quota.max(1_000)));
        }
        Ok(Self(path))
    }

    /// The group of a process, if its path contains `sign`: who is asked which process is meant
    /// may mean one of another host.
    pub fn of_process(pid: i32, sign: &str) -> Option<Self> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let path = place(&mounts, &groups)?;
        let is_meant = sign.len() >= SIGN_BYTES_MIN && path.to_str()?.contains(sign);
        is_meant.then_some(Self(path))
    }

    /// What is in it now, if both are counted there. Of the memory what processes hold, without
    /// the files that the kernel keeps for them.
    pub fn load(&self) -> Option<Load> {
        let own = self.number("memory.stat", "anon")?;
        let mapped = self.number("memory.stat", "file_mapped").unwrap_or_default();
        Some(Load { memory_bytes: own.saturating_add(mapped), cpu_time: self.cpu_time()? })
    }

    /// The file by which a process goes in.
    pub(super) fn door(&self) -> Option<File> {
        OpenOptions::new().write(true).open(self.0.join("cgroup.procs")).ok()
    }

    /// Kills all that is in it, and waits up to a second for their end.
    pub fn kill(&self) {
        let opened = OpenOptions::new().write(true).open(self.0.join("cgroup.kill"));
        if opened.and_then(|mut file| file.write_all(b"1")).is_err() {
            return;
        }
        for _ in 0..EMPTY_TRIES {
            if self.number("cgroup.events", "populated") != Some(1) {
                return;
            }
            std::thread::sleep(EMPTY_PAUSE);
        }
    }

    /// Removes it, if it is empty.
    pub fn remove(&self) {
        let _ = fs::remove_dir(&self.0);
    }

    /// How often the kernel ended something in it for lack of memory.
    pub fn oom_kills(&self) -> u64 {
        self.number("memory.events", "oom_kill").unwrap_or_default()
    }

    /// Time on cores of all that was ever in it.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.number("cpu.stat", "usage_usec").map(Duration::from_micros)
    }

    /// Most memory that it held, if the kernel keeps that.
    pub fn memory_peak_bytes(&self) -> Option<u64> {
        fs::read_to_string(self.0.join("memory.peak")).ok()?.trim().parse().ok()
    }

    fn number(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.0.join(file)).ok()?;
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_group_is_found_through_the_mount() {
        let unified = "30 1 0:2 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw";
        let hybrid = "30 1 0:2 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      31 1 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        let within = "30 1 0:2 /docker/7 /sys/fs/cgroup ro - cgroup2 cgroup rw";
        for (mounts, own, expected) in [
            (unified, "0::/a.slice/b.service\n", Some("/sys/fs/cgroup/a.slice/b.service")),
            (hybrid, "4:cpu:/x\n0::/\n", Some("/sys/fs/cgroup/unified")),
            (within, "0::/docker/7/w", Some("/sys/fs/cgroup/w")),
            (within, "0::/else", None),
            ("", "0::/", None),
            (unified, "4:cpu:/x", None),
        ] {
            assert_eq!(place(mounts, own), expected.map(PathBuf::from), "{mounts} {own}");
        }
    }

    #[test]
    fn what_a_leaf_says_is_read_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let leaf = Leaf::make(dir.path(), "t.1", Limits::default()).unwrap();
        fs::write(leaf.0.join("memory.events"), "low 0\noom 3\noom_kill 2\n").unwrap();
        fs::write(leaf.0.join("cpu.stat"), "usage_usec 1500000\nuser_usec 1\n").unwrap();
        fs::write(leaf.0.join("memory.peak"), "4096\n").unwrap();
        assert_eq!((leaf.oom_kills(), leaf.memory_peak_bytes()), (2, Some(4_096)));
        assert_eq!(leaf.cpu_time(), Some(Duration::from_millis(1_500)));
        assert_eq!(leaf.load(), None, "memory is not counted");
        fs::write(leaf.0.join("memory.stat"), "anon 100\nfile 900\nfile_mapped 20\n").unwrap();
        let load = Load { memory_bytes: 120, cpu_time: Duration::from_millis(1_500) };
        assert_eq!(leaf.load(), Some(load));
    }
}
