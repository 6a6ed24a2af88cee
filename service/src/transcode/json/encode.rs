//! A message → JSON.

use super::{CONTENT_JSON, depth, is_content, is_text};
use base64::{Engine, engine::general_purpose::STANDARD};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};
use serde::ser::{Error, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The message as JSON.
///
/// # Errors
/// A time or duration that is outside of what JSON can say.
pub(crate) fn text(message: &DynamicMessage) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Message(message))
}

/// The same on one line.
///
/// # Errors
/// As [`text`].
pub(crate) fn line(message: &DynamicMessage) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = text(message)?;
    // Only between values of a content's own JSON: a line break in a string is escaped.
    for byte in text.iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    Ok(text)
}

struct Message<'a>(&'a DynamicMessage);

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let descriptor = self.0.descriptor();
        if descriptor.full_name() == "google.protobuf.FieldMask" {
            return mask(self.0).serialize(serializer);
        }
        if is_text(&descriptor) {
            return self.0.serialize(serializer);
        }
        if is_content(&descriptor) {
            return content(self.0, &descriptor, serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        for field in descriptor.fields() {
            if !field.supports_presence() || self.0.has_field(&field) {
                let value = self.0.get_field(&field);
                map.serialize_entry(field.name(), &Field(&field, &value))?;
            }
        }
        map.end()
    }
}

/// With the names that are used everywhere else, not protobuf's lowerCamelCase.
fn mask(message: &DynamicMessage) -> String {
    let paths = message.get_field_by_name("paths");
    let paths = paths.as_deref().and_then(Value::as_list).unwrap_or_default();
    paths.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

fn content<S: Serializer>(
    message: &DynamicMessage,
    descriptor: &MessageDescriptor,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let of = |name: &str| message.get_field_by_name(name).map(Cow::into_owned);
    let (data, kind) = (of("data"), of("content_type"));
    let data = data.as_ref().and_then(Value::as_bytes).map(AsRef::as_ref).unwrap_or_default();
    let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default();
    debug_assert_eq!(descriptor.fields().len(), 2, "a field of Content is not written");
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("content_type", kind)?;
    match serde_json::from_slice::<&RawValue>(data) {
        Ok(json) if kind == CONTENT_JSON && depth::is_readable(data) => {
            map.serialize_entry("json", json)?
        }
        _ => map.serialize_entry("data", &STANDARD.encode(data))?,
    }
    map.end()
}

struct Field<'a>(&'a FieldDescriptor, &'a Value);

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(field, value) = self;
        match value {
            Value::List(items) => {
                let kind = field.kind();
                serializer.collect_seq(items.iter().map(|item| Single(&kind, item)))
            }
            Value::Map(entries) => {
                let Kind::Message(entry) = field.kind() else {
                    return Err(S::Error::custom("a map without entries"));
                };
                let kind = entry.map_entry_value_field().kind();
                let mut entries: Vec<_> =
                    entries.iter().map(|(key, value)| (key_text(key), value)).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                serializer
                    .collect_map(entries.iter().map(|(key, value)| (key, Single(&kind, value))))
            }
            value => Single(&field.kind(), value).serialize(serializer),
        }
    }
}

fn key_text(key: &MapKey) -> Cow<'_, str> {
    match key {
        MapKey::String(text) => Cow::Borrowed(text),
        MapKey::Bool(value) => Cow::Owned(value.to_string()),
        MapKey::I32(value) => Cow::Owned(value.to_string()),
        MapKey::I64(value) => Cow::Owned(value.to_string()),
        MapKey::U32(value) => Cow::Owned(value.to_string()),
        MapKey::U64(value) => Cow::Owned(value.to_string()),
    }
}

struct Single<'a>(&'a Kind, &'a Value);

impl Serialize for Single<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1 {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I32(value) => serializer.serialize_i32(*value),
            Value::U32(value) => serializer.serialize_u32(*value),
            Value::I64(value) => serializer.collect_str(value),
            Value::U64(value) => serializer.collect_str(value),
            Value::F32(value) => float(f64::from(*value), serializer),
            Value::F64(value) => float(*value, serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::Bytes(data) => serializer.serialize_str(&STANDARD.encode(data)),
            Value::Message(message) => Message(message).serialize(serializer),
            Value::EnumNumber(number) => {
                let name = self.0.as_enum().and_then(|names| names.get_value(*number));
                match name {
                    Some(value) => serializer.serialize_str(value.name()),
                    // Of a newer version.
                    None => serializer.serialize_i32(*number),
                }
            }
            Value::List(_) | Value::Map(_) => Err(S::Error::custom("a list within a list")),
        }
    }
}

fn float<S: Serializer>(value: f64, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        value if value.is_nan() => serializer.serialize_str("NaN"),
        f64::INFINITY => serializer.serialize_str("Infinity"),
        f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
        value => serializer.serialize_f64(value),
    }
}
