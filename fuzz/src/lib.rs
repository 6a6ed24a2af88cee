//! What must hold of everything that reads what others have written, whatever they have written.
//!
//! Each module has one function, `check`, which takes any bytes and panics when a property that it
//! states is broken. `fuzz_targets/` hands them to libFuzzer (`make fuzz`); `tests/replay.rs` goes
//! through `corpus/` and some hundred mutations of it, in every `cargo test`.
//!
//! | module | reads |
//! |---|---|
//! | [`id`] | names of task types; ids of tasks, workflows, operations, schedules; etags |
//! | [`page_token`], [`resume_token`] | where a list or a watch goes on |
//! | [`filter`] | what a list asks for |
//! | [`cron`] | when a schedule fires |
//! | [`expression`] | conditions and inputs in CEL |
//! | [`create_task`], [`create_task_json`] | CreateTask, as protobuf and as JSON over HTTP |
//! | [`config`] | a file of settings |
//! | [`event`] | the events file of a program |
//! | [`journal`], [`shim_record`] | what a worker or a shim left on disk |

pub mod config;
mod convert;
pub mod create_task;
pub mod create_task_json;
pub mod cron;
pub mod event;
pub mod expression;
pub mod filter;
pub mod id;
pub mod journal;
pub mod page_token;
pub mod resume_token;
pub mod shim_record;

/// Longest text about a text that is refused: what is shown of it is cut.
const TOLD_BYTES_MAX: usize = 2_048;
/// What all violations of a request may say together, with some more for the last one.
const VIOLATIONS_BYTES_MAX: usize = 4_096 + 64;
/// 2026-01-01T00:00:00Z.
const NOW_MS: i64 = 1_767_225_600_000;

/// The bytes as the text that a decoder of strings would let through.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}
