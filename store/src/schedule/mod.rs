//! Schedules: what they are, where they stand, and what became of their fire times.
//!
//! ```text
//!   fire.rs:  due standings ─▶ definitions ─▶ which runs live ─▶ core::schedule::plan
//!                                                                      │ pure
//!             one transaction:  lock the standings, leave those out that moved (version)
//!                               what became of the fire times, tasks, workflows, counts
//!                               the standings, moved on                     ─▶ COMMIT
//! ```
//!
//! Who writes a row of `schedule_fires` holds the lock of its schedule's standing. So a fire time
//! makes something once, whoever asks for it: the governor, another one, a back-fill.

mod alive;
mod backfill;
mod change;
mod create;
mod fire;
mod fires;
mod get;
mod make;
mod queued;
mod row;
mod run;
mod standing;

pub use backfill::Backfilled;
pub use change::{ScheduleChange, ScheduleError};
pub use create::{CreateScheduleError, CreatedSchedule, NewSchedule};
pub use fire::Fired;
pub use fires::Fire;
pub use queued::QueuedPlace;
pub use row::Schedule;
pub use run::RanSchedule;
pub use standing::Standing;
