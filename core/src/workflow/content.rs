//! Contents as values of expressions, and back.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::task::Content;

/// The media type of a value.
pub const JSON: &str = "application/json";

/// What a content says: the value of JSON that it is or, where it is none or of another media type,
/// its text, or bytes that are no text in base64. An empty one is `null`.
pub fn to_json(content: &Content) -> Value {
    if content.data.is_empty() {
        return Value::Null;
    }
    let may_be_json = content.content_type.is_empty() || content.content_type.contains("json");
    let json = may_be_json.then(|| serde_json::from_slice(&content.data).ok()).flatten();
    json.unwrap_or_else(|| match std::str::from_utf8(&content.data) {
        Ok(text) => text.into(),
        Err(_) => STANDARD.encode(&content.data).into(),
    })
}

/// A value as a content.
pub fn of_json(value: &Value) -> Content {
    Content { data: value.to_string().into(), content_type: JSON.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn content(data: &'static [u8], content_type: &str) -> Content {
        Content { data: data.into(), content_type: content_type.into() }
    }

    #[test]
    fn whatever_a_task_returns_is_some_value() {
        assert_eq!(to_json(&content(b"{\"a\": [1, 2.5]}", JSON)), json!({"a": [1, 2.5]}));
        assert_eq!(to_json(&content(b"7", "")), json!(7));
        assert_eq!(to_json(&content(b"7", "text/plain")), json!("7"));
        assert_eq!(to_json(&content(b"{", JSON)), json!("{"));
        assert_eq!(to_json(&content(b"\xff\xfe", "")), json!("//4="));
        assert_eq!(to_json(&content(b"", JSON)), json!(null));
    }
}
