//! Deleting the directories of ended attempts by age and size.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{adoption, clock, config::KeepConfig};

const INTERVAL: Duration = Duration::from_secs(600);

struct Found {
    path: PathBuf,
    changed: SystemTime,
    bytes: u64,
}

/// Cleans up every ten minutes until it is dropped.
pub async fn run(attempts: PathBuf, keep: KeepConfig) {
    loop {
        let (dir, keep) = (attempts.clone(), keep.clone());
        let cleaned = tokio::task::spawn_blocking(move || clean(&dir, &keep)).await;
        match cleaned.map_err(io::Error::other).and_then(|cleaned| cleaned) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "old directories of attempts deleted"),
            Err(error) => tracing::warn!(%error, "cannot clean up"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Deletes what is too old, then the oldest until the rest is small enough. A directory whose
/// attempt runs or is not settled is left alone. Returns how many were deleted.
fn clean(attempts: &Path, keep: &KeepConfig) -> io::Result<usize> {
    let mut found = Vec::new();
    for entry in fs::read_dir(attempts)? {
        let path = entry?.path();
        if adoption::is_kept(&path) {
            continue;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let Ok(changed) = metadata.modified() else { continue };
        let bytes = size_of_tree(&path);
        found.push(Found { path, changed, bytes });
    }
    found.sort_by_key(|found| found.changed);
    let mut total: u64 = found.iter().map(|found| found.bytes).sum();
    let age_max = Duration::from_millis(keep.attempt_age_max_ms);
    let mut deleted = 0;
    for old in found {
        if clock::age(old.changed) <= age_max && total <= keep.attempts_max_bytes {
            break;
        }
        total = total.saturating_sub(old.bytes);
        match fs::remove_dir_all(&old.path) {
            Ok(()) => deleted += 1,
            Err(error) => tracing::warn!(path = %old.path.display(), %error, "cannot delete"),
        }
    }
    Ok(deleted)
}

fn size_of_tree(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size_of_tree(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    fn attempt(dir: &Path, name: &str, bytes: usize, age: Duration) {
        let path = dir.join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("stdout.log"), vec![b'x'; bytes]).unwrap();
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000) - age;
        fs::File::open(&path).unwrap().set_modified(changed).unwrap();
    }

    #[test]
    fn the_oldest_go_first_and_what_runs_stays() {
        let dir = tempfile::tempdir().unwrap();
        for (name, age_s) in [("a", 30), ("b", 20), ("running", 40), ("c", 10)] {
            attempt(dir.path(), name, 1_000, Duration::from_secs(age_s));
        }
        fs::write(dir.path().join("running/lease.pb"), "").unwrap();
        let keep = KeepConfig { attempt_age_max_ms: u64::MAX, attempts_max_bytes: 2_500 };
        assert_eq!(clean(dir.path(), &keep).unwrap(), 1);
        assert!(!dir.path().join("a").exists() && dir.path().join("b").exists());

        attempt(dir.path(), "ancient", 1, Duration::from_secs(4_000_000_000));
        let keep = KeepConfig { attempt_age_max_ms: 1_000, attempts_max_bytes: u64::MAX };
        assert_eq!(clean(dir.path(), &keep).unwrap(), 1);
        assert!(dir.path().join("running").exists());
    }
}
