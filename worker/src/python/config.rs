//! `[python]`: which Python tasks there are.

use std::{path::PathBuf, time::Duration};

use asyncflow_service::config::{Rules, Validate};
use serde::{Deserialize, Serialize};

const MODULES_MAX: usize = 100;
const POOL_MAX: usize = 10_000;
const HOUR_MS: u64 = 3_600 * 1_000;

/// `[python]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PythonConfig {
    /// Modules, or paths of files `….py`. Empty: no Python tasks.
    pub modules: Vec<String>,
    /// Empty: that of the virtual environment, else `python3`.
    pub executable: PathBuf,
    /// Where modules are looked for first.
    pub path: Vec<PathBuf>,
    /// How long they may take to be imported at the start.
    pub import_time_max_ms: u64,
    /// Processes for tasks that may share one; 0 = as many as slots.
    pub pool: usize,
    /// Then one is replaced.
    pub tasks_per_process: u32,
}

impl PythonConfig {
    /// How long modules may take to be imported at the start.
    pub fn import_time_max(&self) -> Duration {
        Duration::from_millis(self.import_time_max_ms)
    }
}

impl Validate for PythonConfig {
    fn validate(&self, rules: &mut Rules) {
        rules.require(
            self.modules.len() <= MODULES_MAX && self.modules.iter().all(|name| is_module(name)),
            "modules",
            "it must be at most 100 names of modules, e.g. lab.train, or paths of files ….py",
        );
        let has_colon = |path: &PathBuf| path.to_string_lossy().contains(':');
        rules.require(
            !self.path.iter().any(has_colon),
            "path",
            "it must be a list of directories, each without a colon",
        );
        rules.require(
            (1_000..=HOUR_MS).contains(&self.import_time_max_ms),
            "import_time_max_ms",
            "it must be a second to an hour",
        );
        rules.require(self.pool <= POOL_MAX, "pool", "it must be at most 10,000");
        rules.require(self.tasks_per_process > 0, "tasks_per_process", "it must be at least 1");
    }
}

fn is_module(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.starts_with(|first: char| first.is_ascii_digit())
            && !part.is_empty()
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let is_file = name.ends_with(".py") && !name.starts_with('-') && !name.contains('\0');
    is_file || name.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::is_module;

    #[test]
    fn modules_have_names_or_are_files() {
        for name in ["train", "lab.jobs.train", "_x", "train.py", "/srv/lab/train.py", "modèle"] {
            assert!(is_module(name), "{name}");
        }
        for name in ["", "-c", "lab..train", ".train", "7up", "a b", "--help.py", "lab/train"] {
            assert!(!is_module(name), "{name}");
        }
    }
}
