//! Processes of a former worker, which was killed without the time to end them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::tree::{EnvVariable, Stat, kill_tree};

/// Names a process for good: a pid alone may be given out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    pid: i32,
    start_ticks: u64,
    boot_id: String,
}

impl ProcessRecord {
    /// The process that has this id now; `None` if there is none.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, start_ticks: Stat::read(pid)?.start_ticks, boot_id: boot_id() })
    }

    /// Keeps it in a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec(self)?)
    }

    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    fn is_alive(&self) -> bool {
        self.boot_id == boot_id()
            && Stat::read(self.pid).is_some_and(|stat| stat.start_ticks == self.start_ticks)
    }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Kills what former processes of this worker left running: the sessions of the recorded leaders
/// that are alive, and everything that carries the worker's variable. Returns how many.
pub async fn kill_leftovers(records: Vec<PathBuf>, variable: EnvVariable) -> usize {
    let mut killed = 0;
    let mut note = |result: Result<usize, Vec<i32>>| match result {
        Ok(count) => killed += count,
        Err(pids) => tracing::error!(?pids, "leftover processes cannot be killed"),
    };
    for path in records {
        if let Some(record) = ProcessRecord::read(&path)
            && record.is_alive()
        {
            note(kill_tree(Some(record.pid), variable.clone()).await);
        }
        let _ = fs::remove_file(&path);
    }
    note(kill_tree(None, variable).await);
    killed
}
