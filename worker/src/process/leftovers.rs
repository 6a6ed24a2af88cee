//! Processes of a former worker which this one does not go on with.

use super::{
    cgroup::Leaf,
    end_command::EndCommand,
    record::ProcessRecord,
    tree::{EnvVariable, Family, kill_family},
};

/// What was recorded of an attempt that is not gone on with.
#[derive(Debug, Default)]
pub struct Leftover {
    /// Its shim.
    pub shim: Option<ProcessRecord>,
    /// The leader of its session.
    pub leader: Option<ProcessRecord>,
    /// Its control group.
    pub leaf: Option<Leaf>,
    /// Ends what is left elsewhere.
    pub end_command: Option<EndCommand>,
}

/// Kills these, and everything that carries the worker's variable without carrying one of `spared`.
/// Returns how many were killed. Blocks for seconds if some would not die.
pub fn kill_leftovers(
    leftovers: Vec<Leftover>,
    variable: EnvVariable,
    spared: Vec<EnvVariable>,
) -> usize {
    let mut killed = 0;
    let mut end = |family: &Family| match kill_family(family) {
        Ok(count) => killed += count,
        Err(pids) => tracing::error!(?pids, "leftover processes cannot be killed"),
    };
    for leftover in leftovers {
        let alive = |record: Option<ProcessRecord>| {
            record.filter(ProcessRecord::is_alive).map(|record| record.pid)
        };
        let shim = alive(leftover.shim);
        // The shim goes last: while it is there its descendants can be told by it.
        end(&Family { ancestor: shim, session: alive(leftover.leader), ..Family::default() });
        end(&Family { pid: shim, ..Family::default() });
        if let Some(leaf) = leftover.leaf {
            leaf.kill();
            leaf.remove();
        }
        if let Some(Err(error)) = leftover.end_command.map(|end_command| end_command.run()) {
            tracing::error!(error, "what an attempt left elsewhere cannot be ended");
        }
    }
    end(&Family { variable: Some(variable), spared, ..Family::default() });
    killed
}
