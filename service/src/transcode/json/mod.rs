//! Messages as JSON, both ways: as protobuf's JSON mapping, with the names of the .proto files.
//!
//! | type | is written | is read |
//! |---|---|---|
//! | field names | `task_type` | also `taskType` |
//! | 64-bit integers | `"42"` | also 42 |
//! | enums | `"TASK_STATE_RUNNING"` | also 7 |
//! | bytes | base64 | also base64url, with or without padding |
//! | times, durations, masks | `"2026-01-31T12:00:00Z"`, `"1.5s"`, `"name,labels"` | the same |
//! | `Content` | `{"content_type": …, "json": …}`; with `data` if no JSON, or too deep | both |
//!
//! What is unset is left out, but fields that have no presence are always written: a reader needs
//! no list of defaults.

mod decode;
mod depth;
mod encode;
mod scalar;

pub(super) use decode::{Problem, Violation, field_of, read, unknown};
pub(super) use encode::{line, text};
pub(super) use scalar::{Scalar, convert};

use prost_reflect::MessageDescriptor;

/// The message that may be written as the JSON which it holds.
const CONTENT: &str = "asyncflow.v1.Content";
const CONTENT_JSON: &str = "application/json";

/// Whether it is one of those that are a text in JSON.
pub(super) fn is_text(message: &MessageDescriptor) -> bool {
    matches!(
        message.full_name(),
        "google.protobuf.Timestamp" | "google.protobuf.Duration" | "google.protobuf.FieldMask"
    )
}

/// Whether its `data` may be given and answered as `json`.
pub(super) fn is_content(message: &MessageDescriptor) -> bool {
    message.full_name() == CONTENT
}

#[cfg(test)]
mod tests;
