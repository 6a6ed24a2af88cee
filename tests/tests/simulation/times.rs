//! Spans of simulated time.

pub const HEARTBEAT_MS: i64 = 1_000;
pub const LEASE_MS: i64 = 3_000;
pub const HANDOUT_MS: i64 = 1_000;
/// Between two looks of the governor.
pub const LOOK_MS: i64 = 500;
/// Between two signs of life of a broker.
pub const BEAT_MS: u64 = 300;
/// Who was not heard of for so long is forgotten.
pub const WORKER_SILENT_MS: i64 = 12_000;
