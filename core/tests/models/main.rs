//! Two protocols as models that are checked in full: every order in which their steps can come,
//! within small bounds. See "Checked exhaustively" in `docs/GUARANTEES.md`.
//!
//! What a statement makes of a task's row is not copied here: the models ask
//! `asyncflow_core::transition`, `lease` and `invariant`, as the store does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod check;
mod lease;
mod shard;
