//! What a worker orders its shim to do, in a file beside it; a signal says that there is one.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::record::{Told, put};

const FILE: &str = "order.json";

/// Stop the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Why.
    pub told: Told,
    /// Without stop file, signal and grace.
    pub at_once: bool,
    /// From the signal to the end.
    pub grace_ms: u64,
    /// Asks the program to stop.
    pub signal: i32,
}

impl Order {
    /// Puts it in force; a later one replaces it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        put(dir, FILE, &serde_json::to_vec(self)?)
    }

    /// What is in force.
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()
    }
}
