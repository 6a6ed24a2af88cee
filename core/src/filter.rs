//! What a list can ask for. The text form is a subset of AIP-160.
//!
//! ```text
//! filter    = group { AND group }
//! group     = condition | states | "(" states ")" | "(" condition ")"
//! states    = state { OR state }                 as in AIP-160, OR binds tighter than AND
//! condition = field operator value
//! ```

mod parse;
mod token;

use crate::{id::TypeName, state::TaskState};

pub use parse::parse;

/// A conjunction over indexed columns and labels; every field that is set must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub task_type: Option<TypeName>,
    /// Any of these states; empty = all.
    pub states: Vec<TaskState>,
    pub user: Option<String>,
    /// All of these labels.
    pub labels: Vec<(String, String)>,
    /// Created at or after, Unix ms.
    pub created_from_ms: Option<i64>,
    /// Created before, Unix ms.
    pub created_before_ms: Option<i64>,
}
