//! What is done to the store.

use asyncflow_core::{create::NewTask, event::Event, id::TaskId, id::TypeName};
use asyncflow_store::{ClaimRequest, Departure};

#[derive(Clone, Debug)]
pub enum Command {
    /// By one of the two processes.
    Create {
        process: usize,
        batch: Vec<NewTask>,
    },
    Claim(ClaimRequest),
    /// Asks again for what an acquire got.
    Acquired {
        session_id: i64,
        acquire_id: String,
    },
    /// By one of the two processes, in one transaction.
    Apply {
        process: usize,
        events: Vec<(TaskId, Event)>,
    },
    Delete(TaskId),
    /// A worker registers, as the same process or a new one, which adopts some of what it held,
    /// leaves some as it is and gives back the rest.
    Register {
        worker: usize,
        is_new: bool,
        adopts: usize,
        keeps: usize,
    },
    /// A worker gives back what it holds, and its session ends.
    Leave {
        worker: usize,
        departure: Departure,
    },
    Promote {
        task_type: TypeName,
        limit: u32,
    },
    /// Takes back what has run out, with what an earlier look saw; one may be renewed before.
    Reap {
        task_type: TypeName,
        renews: bool,
    },
    PauseType {
        task_type: TypeName,
        paused: bool,
    },
    /// Opens the next shard.
    Roll(TypeName),
}
