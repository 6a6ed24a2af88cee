//! Operations: one verb for all tasks that match a filter, page by page.
//!
//! ```text
//!   create ─▶ row: RUNNING, nobody's ─▶ take: epoch + 1, a lease by the database's clock
//!                                          │
//!        ┌──────────────── advance ◀───────┘            one page of the list, by ids downwards
//!        │  one transaction: lock the row, is the epoch the one in force and nothing else written?
//!        │                   ─▶ change the tasks of the page ─▶ counters, cursor, lease
//!        └─▶ … ─▶ SUCCEEDED | FAILED            cancel: CANCELLED at once; a page under way is
//!                                               either committed before it, or rolled back
//! ```
//!
//! Because tasks, counters and cursor change in one transaction, a page is done once, whoever dies,
//! stops for a while or loses an answer, and the counters tell what really happened.

mod advance;
mod cancel;
mod create;
mod get;
mod labels;
mod matching;
mod purge;
mod row;
mod step;
mod take;

pub use advance::Advance;
pub use create::{CreateOperationError, CreatedOperation};
pub use matching::Matching;
pub use row::Operation;
pub use take::OperationLease;
