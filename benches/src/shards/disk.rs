//! Room on the disk: what the tables take, and whether there is enough.

use super::Plan;
use crate::error::BenchError;
use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};

/// Bytes that a folder takes on the disk. Files that vanish meanwhile count as nothing.
pub fn used_bytes(path: &Path) -> u64 {
    let Ok(about) = fs::symlink_metadata(path) else { return 0 };
    let own = about.blocks() * 512;
    let children = about.is_dir().then(|| fs::read_dir(path).ok()).flatten();
    let children = children.into_iter().flatten().flatten();
    own + children.map(|child| used_bytes(&child.path())).sum::<u64>()
}

/// What a row takes at most with its indexes, its attempt and the logs, as measured with room to
/// spare.
const ROW_BYTES: u64 = 1_500;
const LOGS_BYTES: u64 = 3_000_000_000;

/// Refuses to begin what would fill the disk; one database is there at a time.
pub fn require_for(plans: &[Plan]) -> Result<(), BenchError> {
    let rows = plans.iter().map(|plan| plan.rows).max().unwrap_or_default();
    require(rows * ROW_BYTES + LOGS_BYTES, &std::env::temp_dir())
}

fn require(bytes: u64, path: &Path) -> Result<(), BenchError> {
    let free = free_bytes(path)?;
    if free >= bytes {
        return Ok(());
    }
    Err(BenchError::Other(format!(
        "{} has {:.1} GB free and this needs about {:.1} GB; set TMPDIR to a folder with more \
         room, or measure fewer --rows",
        path.display(),
        free as f64 / 1e9,
        bytes as f64 / 1e9
    )))
}

fn free_bytes(path: &Path) -> Result<u64, BenchError> {
    let output = Command::new("df").args(["--output=avail", "-B1"]).arg(path).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let free = text.lines().nth(1).and_then(|line| line.trim().parse().ok());
    free.ok_or_else(|| BenchError::Other(format!("df says nothing about {}", path.display())))
}
