//! The protocol of asyncflow: messages, clients and servers of package `asyncflow.v1`.
//!
//! The Rust here is generated from `asyncflow/v1/*.proto` and committed; a test keeps it fresh.

pub mod time;

/// Package `asyncflow.v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "generated"
)]
#[rustfmt::skip]
pub mod v1 {
    include!("generated/asyncflow.v1.rs");
}

/// The encoded `FileDescriptorSet` of all files and what they import, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptors.binpb");

/// Metadata key of the attempt's token for `AttemptService`.
pub const ATTEMPT_TOKEN_METADATA: &str = "asyncflow-attempt-token";
/// Metadata key that carries the current version of a context in a CONTEXT_VERSION refusal.
pub const CONTEXT_VERSION_METADATA: &str = "asyncflow-context-version";
