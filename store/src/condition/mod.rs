//! What a task waits for besides a time: the end of others, signals, the end of the tasks that it
//! has made.
//!
//! Each thing that a BLOCKED task waits for is a row of `task_waits`. Whoever makes it come true
//! marks the rows in the transaction in which it does so, and takes up those that are marked, up to
//! a bound, in the same; the rest is done after the COMMIT, by whoever comes first. So what is
//! marked is never lost, and what is not marked is looked at by nobody.
//!
//! A task that is waited for knows it (`Ties::awaited`), so that the end of others costs nothing.
//! The row of what is waited for is locked before a row is added here, and so is it when it ends:
//! whichever comes second sees the other.

mod consequences;
mod create;
mod hold;
mod release;
mod rows;
mod signal;
mod until;

pub use create::CreateWaitingError;
pub use signal::SignalError;

pub(crate) use consequences::Consequences;
pub(crate) use hold::{Conditions, hold};
pub(crate) use release::{Due, Released, release};
pub(crate) use rows::{WaitRow, forget, insert};
pub(crate) use signal::forget_signals;
pub(crate) use until::{
    PendingWait, PendingWaits, cancelled_waiting, pending_waits, waiting_again,
};
