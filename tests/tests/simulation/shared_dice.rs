//! One source of chance for all hosts, which take turns in one thread.

use std::sync::{Arc, Mutex, PoisonError};

use asyncflow_store::testing::Dice;

#[derive(Clone)]
pub struct SharedDice(Arc<Mutex<Dice>>);

impl SharedDice {
    pub fn of(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Dice::of(seed))))
    }

    pub fn with<T>(&self, roll: impl FnOnce(&mut Dice) -> T) -> T {
        roll(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
