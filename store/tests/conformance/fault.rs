//! Other processes on the same database that can be stopped, or lack a guard.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use asyncflow_store::{Store, StoreOptions};

/// The same database as another process sees it, and whose steps can be stopped.
pub async fn another(store: &Store, dir: &Path) -> Store {
    let options =
        StoreOptions { fault_dir: Some(dir.to_owned()), ..StoreOptions::new(store.url()) };
    Store::connect(&options).await.unwrap()
}

/// Leaves out a guard in those who look into this directory.
pub fn switch_off(dir: &Path, guard: &str) {
    std::fs::write(dir.join(format!("{guard}.off")), "").unwrap();
}

/// A fault point that is held.
pub struct Stop(PathBuf);

impl Stop {
    pub fn at(dir: &Path, point: &str) -> Self {
        let stop = dir.join(format!("{point}.stop"));
        let _ = std::fs::remove_file(stop.with_extension("reached"));
        std::fs::write(&stop, "").unwrap();
        Self(stop)
    }

    pub async fn reached(&self) {
        while !self.is_reached() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn is_reached(&self) -> bool {
        self.0.with_extension("reached").exists()
    }

    pub fn release(&self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}
