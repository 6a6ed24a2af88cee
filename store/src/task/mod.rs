//! The verbs on tasks, one per file, all on top of `row` (columns) and `write` (changes).

mod acquires;
mod ahead;
mod announce;
mod apply;
mod attempts;
mod candidates;
mod claim;
mod claim_placed;
mod count;
mod delete;
mod expire_results;
mod get;
mod guard;
mod handover;
mod insert;
mod judge;
mod leases;
mod list;
mod look_back;
mod places;
mod promote;
mod reap;
mod release;
mod requests;
mod row;
mod unfenced;
mod update;
mod waits;
mod write;

pub use acquires::Assigned;
pub use ahead::WaitingAhead;
pub(crate) use apply::{Answer, Item, Places, apply_within};
pub use apply::{Applied, ApplyError};
pub(crate) use attempts::{COLUMNS as ATTEMPT_COLUMNS, complete, read as read_attempt};
pub use candidates::{Candidates, Mark};
pub use claim::{ClaimRequest, Claimed, Leased, Taker};
pub use claim_placed::{ClaimedPlaced, PlaceRequest, PlacedTask};
pub use count::{Count, CountFilter};
pub(crate) use delete::delete_within;
pub use expire_results::{ExpiredResults, ResultMarks};
pub use get::GetError;
pub(crate) use guard::{Guard, StateSet};
pub use handover::Handover;
pub(crate) use insert::LATE;
pub use insert::{Create, Handed, InsertError, InsertRefusal, Inserted};
pub(crate) use leases::Leases;
pub use list::Page;
pub use look_back::SetAside;
pub use release::Departure;
pub(crate) use requests::{Requests, known as known_requests, note as note_requests};
pub use row::Parts;
pub(crate) use row::{
    columns, decode_labels, decode_resources, encode_labels, read_task, state, time_ms,
};
pub(crate) use write::{Batch, insert_tasks};
