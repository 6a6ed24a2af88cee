//! The seed of what a test leaves to chance.

use std::hash::BuildHasher;

/// With this in the environment a random test plays what it played with that seed before.
const SEED_VARIABLE: &str = "ASYNCFLOW_TEST_SEED";

/// The seed of `ASYNCFLOW_TEST_SEED`, or a new one.
///
/// # Panics
/// When the variable is no number.
pub fn seed() -> u64 {
    match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE}={text} is no seed")),
        Err(_) => std::hash::RandomState::new().hash_one(SEED_VARIABLE) % 1_000_000,
    }
}
