//! A disk of 4 MiB, to be filled.

use std::{path::Path, process::Command, thread};

use tempfile::TempDir;

/// It is unmounted when it is dropped, also when somebody still has a file open there.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// None, with the reason on standard error, where nothing can be mounted.
    pub fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let mounted =
            mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(dir.path()).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        super::tell_skipped(&format!("no tmpfs can be mounted (it needs root): {mounted:?}"));
        None
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || thread::panicking());
    }
}
