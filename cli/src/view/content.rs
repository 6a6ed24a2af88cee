//! Bytes that asyncflow carries: text where they are text, base64 elsewhere.

use asyncflow_proto::v1::Content;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

/// How much of a content a table shows, in characters.
const SHOWN_MAX: usize = 2_000;

/// A content; exactly one of `text` and `base64` is there.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct ContentView {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    content_type: String,
}

impl From<Content> for ContentView {
    fn from(content: Content) -> Self {
        let content_type = content.content_type;
        match std::str::from_utf8(&content.data) {
            Ok(text) => Self { text: Some(text.to_owned()), base64: None, content_type },
            Err(_) => {
                Self { text: None, base64: Some(STANDARD.encode(&content.data)), content_type }
            }
        }
    }
}

impl ContentView {
    /// For a table: the text, cut, or how much there is.
    pub fn for_people(&self) -> String {
        match (&self.text, &self.base64) {
            (Some(text), _) if text.chars().count() > SHOWN_MAX => {
                let shown: String = text.chars().take(SHOWN_MAX).collect();
                format!("{shown}… ({} bytes; -o json shows all)", text.len())
            }
            (Some(text), _) => text.clone(),
            (None, Some(base64)) => {
                let bytes = base64.len() / 4 * 3;
                format!("(about {bytes} bytes of {}; -o json shows them)", self.kind())
            }
            (None, None) => String::new(),
        }
    }

    fn kind(&self) -> &str {
        if self.content_type.is_empty() { "binary data" } else { &self.content_type }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_and_bytes_become_base64() {
        let view = |data: &[u8]| {
            ContentView::from(Content { data: data.to_vec().into(), content_type: "x/y".into() })
        };
        let text = serde_json::json!(view("{\"a\":\"ü\"}".as_bytes()));
        assert_eq!(text, serde_json::json!({"text": "{\"a\":\"ü\"}", "content_type": "x/y"}));
        let bytes = serde_json::json!(view(&[0xff, 0x00]));
        assert_eq!(bytes, serde_json::json!({"base64": "/wA=", "content_type": "x/y"}));
        assert!(view(&[0xff]).for_people().contains("x/y"));
        assert!(view("é".repeat(3_000).as_bytes()).for_people().chars().count() < 2_100);
    }
}
