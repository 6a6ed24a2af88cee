//! Places where a test stops this process, and guards that it switches off.
//!
//! Only with the feature `fault-points` and never in a release build; otherwise both functions are
//! empty. A test names a directory in the environment ([`DIR_VARIABLE`]) or in the options of a
//! store and makes files there:
//!
//! - `<point>.stop`: whoever comes to the point makes `<point>.reached` and waits until
//!   `<point>.stop` is gone. What a kill or a pause at that very place does can so be seen.
//! - `<guard>.off`: the guard is left out, which plants the bug that it keeps away. A test that
//!   still passes then is worth nothing.

/// Names the directory for all stores of a process.
pub const DIR_VARIABLE: &str = "ASYNCFLOW_FAULT_DIR";

use crate::Store;

#[cfg(all(feature = "fault-points", debug_assertions))]
impl Store {
    /// Waits here while a test wants it.
    pub(crate) async fn fault_point(&self, name: &str) {
        let Some(dir) = &self.options().fault_dir else { return };
        let stop = dir.join(format!("{name}.stop"));
        if !stop.exists() {
            return;
        }
        if let Err(error) = std::fs::write(dir.join(format!("{name}.reached")), "") {
            tracing::error!(%error, name, "a fault point could not say that it was reached");
        }
        while stop.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Whether a test has switched this guard off.
    pub(crate) fn is_off(&self, guard: &str) -> bool {
        let dir = self.options().fault_dir.as_ref();
        dir.is_some_and(|dir| dir.join(format!("{guard}.off")).exists())
    }
}

#[cfg(not(all(feature = "fault-points", debug_assertions)))]
impl Store {
    #[expect(clippy::unused_async, reason = "it waits when fault points are built in")]
    pub(crate) async fn fault_point(&self, _: &str) {}

    #[expect(clippy::unused_self, reason = "it looks when fault points are built in")]
    pub(crate) const fn is_off(&self, _: &str) -> bool {
        false
    }
}
