//! Chance that can be had again.

use std::hash::BuildHasher;

/// With this in the environment a random test plays what it played with that seed before.
const SEED_VARIABLE: &str = "ASYNCFLOW_TEST_SEED";

/// Always the same numbers for the same seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Those of a seed.
    pub fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// 0 to `sides` - 1.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    /// Whether it happens, once in so many times.
    pub fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    /// In another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            let other = self.roll(end as u64 + 1) as usize;
            list.swap(end, other);
        }
    }
}

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
