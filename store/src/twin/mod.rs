//! Twins: tasks that do what a straggler does once more, on another host.
//!
//! ```text
//!   original RUNNING ── its row locked, in the same attempt ──▶ twin PENDING, a row of `twins`
//!   twin SUCCEEDED ── in the same transaction, the original's row locked ──▶ original SUCCEEDED
//!   original ended ── after the COMMIT, or by the governor ──▶ twin cancelled
//! ```
//!
//! Both ends lock the original's row, or write it under compare-and-swap: one of them comes first,
//! and the other one finds a task that has ended. Nobody who ends the original waits for the twin's
//! row, so that the two cannot wait for each other. A twin belongs to one run of its original for
//! ever: when that is over it is never needed again, however late somebody finds out.
//!
//! Both tasks know by their [`Ties`](asyncflow_core::task::Ties), so that no other task asks.

mod end;
mod look;
mod make;
mod of;
mod row;
mod stop;

pub use look::RunningTask;
pub use make::Straggler;
pub use row::Twin;

pub(crate) use end::{TwinEnd, overtake};
pub(crate) use look::span_ms;
pub(crate) use row::{forget, forget_shard};
pub(crate) use stop::gives_up_twin;
