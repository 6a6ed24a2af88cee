//! The verbs on tasks, one per file, all on top of `row` (columns) and `write` (changes).

mod acquires;
mod announce;
mod apply;
mod attempts;
mod candidates;
mod claim;
mod count;
mod delete;
mod expire_results;
mod get;
mod handover;
mod insert;
mod leases;
mod list;
mod look_back;
mod promote;
mod reap;
mod release;
mod requests;
mod row;
mod update;
mod write;

pub use apply::{Applied, ApplyError};
pub(crate) use attempts::{COLUMNS as ATTEMPT_COLUMNS, complete, read as read_attempt};
pub use candidates::{Candidates, Mark};
pub use claim::{ClaimRequest, Claimed, Leased, Taker};
pub use count::{Count, CountFilter};
pub use expire_results::{ExpiredResults, ResultMarks};
pub use get::GetError;
pub use handover::Handover;
pub use insert::{Create, Handed, InsertError, InsertRefusal, Inserted};
pub(crate) use leases::Leases;
pub use list::Page;
pub use release::Departure;
pub use row::Parts;
pub(crate) use row::{columns, read_task, state};
#[cfg(feature = "testing")]
pub(crate) use write::insert_tasks;
