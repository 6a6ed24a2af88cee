//! A file system of few MiB, to be filled and freed again.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// What is written at once while it is filled.
static PIECE: [u8; 1 << 16] = [0; 1 << 16];

/// A tmpfs that everybody can enter. Drop it after whoever uses it: it is unmounted then.
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// One of so many MiB; none, with the reason on standard error, where nothing can be mounted.
    ///
    /// # Panics
    /// When no temporary directory can be made.
    pub fn mount(mib: u32) -> Option<Self> {
        let dir = super::server::open_dir("disk");
        let size = format!("size={mib}m,mode=0755");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self { dir });
        }
        super::tell_skipped(&format!("no tmpfs can be mounted (it needs root): {mounted:?}"));
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Takes all the room but so many bytes, whatever was taken before.
    ///
    /// # Panics
    /// When the disk refuses for another reason than that it is full.
    pub fn fill_but(&self, bytes: u64) {
        let opened = OpenOptions::new().create(true).append(true).open(self.filler());
        let filled = opened.and_then(|mut filler| {
            while fits(&mut filler)? {}
            let taken = filler.metadata()?.len();
            filler.set_len(taken.saturating_sub(bytes))
        });
        assert!(filled.is_ok(), "cannot fill {}: {filled:?}", self.path().display());
    }

    /// Gives back what [`fill_but`](Self::fill_but) took.
    ///
    /// # Panics
    /// When nothing was.
    pub fn free(&self) {
        let freed = std::fs::remove_file(self.filler());
        assert!(freed.is_ok(), "cannot free {}: {freed:?}", self.path().display());
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

/// Whether one more piece, or a part of it, has found room.
fn fits(filler: &mut File) -> std::io::Result<bool> {
    match filler.write(&PIECE) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::StorageFull => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also when somebody still has a file open there. What fails leaves an empty mount behind.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
