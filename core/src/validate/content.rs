//! Bytes with a media type.

use super::{at::At, text};
use crate::{
    command::COMMAND_CONTENT_TYPE, limits::CONTENT_TYPE_BYTES_MAX, task::Content,
    violation::Violations,
};

/// At most `bytes_max` bytes, and a media type that is not one of our own.
pub fn content(content: &Content, bytes_max: usize, at: At<'_>, violations: &mut Violations) {
    if content.data.len() > bytes_max {
        let what = format!("{} bytes are too many; at most {bytes_max} bytes", content.data.len());
        violations.add(at.field("data"), what);
    }
    let media_type = at.field("content_type");
    text::line(&content.content_type, CONTENT_TYPE_BYTES_MAX, media_type, violations);
    if content.content_type == COMMAND_CONTENT_TYPE {
        let what = format!("{COMMAND_CONTENT_TYPE} is reserved; use `command` to run a program");
        violations.add(media_type, what);
    }
}
