//! What all hosts of a play share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::{database::Database, plan::Plan, shared_dice::SharedDice};

pub struct Scene {
    pub database: Arc<Database>,
    pub dice: SharedDice,
    pub plan: Plan,
    processes: AtomicU32,
    has_asked: AtomicBool,
}

impl Scene {
    pub fn new(database: Arc<Database>, dice: SharedDice, plan: Plan) -> Self {
        let (processes, has_asked) = (AtomicU32::new(0), AtomicBool::new(false));
        Self { database, dice, plan, processes, has_asked }
    }

    /// The number of a worker process that begins.
    pub fn next_process(&self) -> u32 {
        self.processes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The clients have got what they wanted.
    pub fn set_asked(&self) {
        self.has_asked.store(true, Ordering::Relaxed);
    }

    /// Nothing is to be expected any more.
    pub fn is_over(&self) -> bool {
        let rows = self.database.rows();
        let are_over = rows.iter().all(|row| row.task.state.is_terminal());
        self.has_asked.load(Ordering::Relaxed) && are_over
    }
}
