//! The archive of tasks: what a shard held, kept outside the database after its tables are dropped.
//!
//! ```text
//!   <url>/<type>/<type>-<number>/part-<generation>-00001.jsonl.zst   one JSON line per task
//!                               /part-<generation>-00002.jsonl.zst
//!                               /manifest.json                       written last
//! ```
//!
//! Invariants
//! 1. An archive is complete exactly when its manifest is there: every part that the manifest
//!    names was read back and found whole before the manifest was written.
//! 2. An archive that is written again leaves the older one as it is until the new manifest
//!    replaces the older manifest in one step; parts of both never share a name.
//! 3. A manifest is replaced only by one that holds all of its tasks.
//! 4. Memory is bounded by one part and one batch of lines, however large the shard is.
//!
//! This crate knows neither database nor protocol: the governor turns rows into [`Line`]s, and
//! whoever has the files can read them without asyncflow (`zstd -dc … | jq`).

mod error;
mod line;
mod manifest;
mod open;
mod part;
mod read;
mod shard;
mod verify;
mod write;

pub use error::ArchiveError;
pub use line::{Attempt, Content, Failure, Line, Progress, Retry, Usage};
pub use manifest::{FORMAT_VERSION, Manifest, PartFile};
pub use open::{Archive, Options};
pub use read::Lines;
pub use shard::ShardName;
pub use write::{Bounds, Source, Writer};
