//! Operating-system processes: starting one as leader of its own session, and ending it with all
//! its descendants. Knows nothing of tasks or brokers, so that it can move behind a shim.
//!
//! A descendant is found by either of two signs: it is in the leader's session, or its
//! environment carries the attempt's variable (a daemon that called setsid still has that). Nothing
//! is killed by PDEATHSIG: that would fire when the thread that spawned the child ends.

mod leftovers;
mod spawn;
mod tree;

pub use leftovers::{ProcessRecord, kill_leftovers};
pub use spawn::{Exit, Launch, Process, SpawnError};
pub use tree::{EnvVariable, kill_tree};
