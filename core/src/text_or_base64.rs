//! Bytes within JSON: as text where they are text, so that people can read what is stored, else in
//! base64.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form<'a> {
    Text(std::borrow::Cow<'a, str>),
    Base64(String),
}

pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    let form = match std::str::from_utf8(bytes) {
        Ok(text) => Form::Text(text.into()),
        Err(_) => Form::Base64(STANDARD.encode(bytes)),
    };
    form.serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    match Form::deserialize(deserializer)? {
        Form::Text(text) => Ok(text.into_owned().into()),
        Form::Base64(text) => STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use crate::task::Content;

    #[test]
    fn both_survive() {
        for data in [&b"{\"a\": 1}"[..], b"", b"\xff\x00\xfe"] {
            let content = Content { data: data.to_vec().into(), content_type: "x/y".into() };
            let json = serde_json::to_string(&content).unwrap();
            assert_eq!(serde_json::from_str::<Content>(&json).unwrap(), content, "{json}");
        }
        let text = Content { data: "ü".into(), content_type: String::new() };
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(json, r#"{"data":{"text":"ü"},"content_type":""}"#);
    }
}
