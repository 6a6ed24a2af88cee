//! Stops a program at a place of its code, and plants bugs in it; see `asyncflow_store::fault`.

use std::path::{Path, PathBuf};

use asyncflow_store::testing::tally;

use crate::tasks::until;

/// Where a program looks for what a test wants of it.
pub struct Faults(PathBuf);

impl Faults {
    /// Those of the program that works in `dir`.
    pub(crate) fn of(dir: &Path) -> Self {
        Self(dir.join("faults"))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    /// From now on whoever comes to this point waits there.
    pub fn stop_at(&self, point: &str) -> Stop {
        let stop = Stop(self.0.join(format!("{point}.stop")));
        let _ = std::fs::remove_file(stop.0.with_extension("reached"));
        write(&stop.0);
        stop
    }

    /// From now on the program does without this guard.
    pub fn switch_off(&self, guard: &str) {
        write(&self.0.join(format!("{guard}.off")));
        tally("guard switched off");
    }
}

fn write(file: &Path) {
    let written = std::fs::write(file, "");
    assert!(written.is_ok(), "cannot write {}", file.display());
}

/// A point at which a program waits or will wait.
pub struct Stop(PathBuf);

impl Stop {
    /// Returns when the program waits there.
    ///
    /// # Panics
    /// When it does not come there in time.
    pub async fn reached(&self) {
        let reached = self.0.with_extension("reached");
        until(&format!("{} is there", reached.display()), || async {
            reached.exists().then_some(())
        })
        .await;
        tally("stopped at a point");
    }

    /// Nobody waits there any more.
    pub fn go_on(self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
