//! JSON as [`Content`]: payloads, contexts, results.

use serde::{Serialize, de::DeserializeOwned};

use crate::v1::Content;

/// The content type of JSON.
pub const CONTENT_TYPE: &str = "application/json";

/// The value as JSON. Errors: it cannot be told in JSON, e.g. a map whose keys are no strings.
pub fn write(value: &impl Serialize) -> Result<Content, serde_json::Error> {
    let data = serde_json::to_vec(value)?;
    Ok(Content { data: data.into(), content_type: CONTENT_TYPE.to_owned() })
}

/// The value that the content holds, whatever its content type says; no content, or an empty one,
/// is `null`. Errors: it is no JSON, or another value than a `T`.
pub fn read<T: DeserializeOwned>(content: Option<&Content>) -> Result<T, serde_json::Error> {
    match content {
        Some(content) if !content.data.is_empty() => serde_json::from_slice(&content.data),
        _ => serde_json::from_value(serde_json::Value::Null),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::{read, write};
    use crate::v1::Content;

    #[test]
    fn what_is_written_is_read() {
        let content = write(&vec![1, 2]).unwrap();
        assert_eq!(
            (&content.data[..], &*content.content_type),
            (&b"[1,2]"[..], "application/json")
        );
        assert_eq!(read::<Vec<u8>>(Some(&content)).unwrap(), [1, 2]);
        assert!(read::<String>(Some(&content)).is_err());
    }

    #[test]
    fn nothing_is_null() {
        for nothing in [None, Some(&Content::default())] {
            assert_eq!(read::<Option<u8>>(nothing).unwrap(), None);
            assert!(read::<u8>(nothing).is_err());
        }
    }
}
