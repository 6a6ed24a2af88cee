//! Operating-system processes: starting one as leader of its own session, and ending it with all
//! its descendants. Knows nothing of tasks or brokers.
//!
//! A descendant is found by any of four signs: it is in the attempt's control group, it descends
//! from the shim (which orphans are given to), it is in the leader's session, or its environment
//! carries the attempt's variable. Nothing is killed by PDEATHSIG: that would fire when the thread
//! that spawned the child ends.

mod cgroup;
mod end_command;
mod leftovers;
mod load;
mod record;
mod spawn;
mod tree;

pub use cgroup::{Base, Leaf, Limits};
pub use end_command::{EndCommand, call};
pub use leftovers::{Leftover, kill_leftovers};
pub use load::{Load, load_of_tree, resident_bytes};
pub use record::ProcessRecord;
pub use spawn::{Exit, Launch, SpawnError, Started, start, start_detached, start_served};
pub use tree::{EnvVariable, Family, children_of, kill_family};
