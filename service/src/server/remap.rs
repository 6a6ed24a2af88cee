//! Statuses that tonic makes itself and that mean something else here.

use crate::status;
use http::HeaderMap;
use tonic::{Code, Status};

/// Rewrites the status in the headers (of a refusal) or trailers (of an answer) where needed, and
/// returns the code that stands there now, if one does.
pub(super) fn remap(headers: &mut HeaderMap) -> Option<Code> {
    let status = Status::from_header_map(headers)?;
    let Some(better) = better(&status) else {
        return Some(status.code());
    };
    let code = better.code();
    // It only fails for metadata that is no header, and these statuses have none of their own.
    drop(better.add_header(headers));
    Some(code)
}

/// The texts are tonic's; the tests of this crate provoke each of them over a real connection.
fn better(status: &Status) -> Option<Status> {
    let message = status.message();
    match status.code() {
        Code::OutOfRange if message.contains("message length too large") => {
            Some(status::message_too_large(message))
        }
        Code::Internal if is_malformed(message) => Some(status::malformed_message(message)),
        _ => None,
    }
}

fn is_malformed(message: &str) -> bool {
    ["failed to decode Protobuf message", "protocol error:", "Unexpected EOF decoding stream"]
        .iter()
        .any(|start| message.starts_with(start))
        || message == "Missing request message."
}
