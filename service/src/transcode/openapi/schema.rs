//! Messages and enums as JSON Schema.

use super::comments::Comments;
use crate::transcode::json::{is_content, is_text};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The schemas that were asked for, and those that they name.
#[derive(Default)]
pub(super) struct Schemas {
    pub(super) comments: Comments,
    written: BTreeMap<String, Value>,
}

impl Schemas {
    /// All of them by name.
    pub(super) fn into_map(self) -> Map<String, Value> {
        self.written.into_iter().collect()
    }

    /// The schema of a field, or of one of its items.
    pub(super) fn of_kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Double | Kind::Float => json!({
                "anyOf": [{ "type": "number" }, { "enum": ["NaN", "Infinity", "-Infinity"] }]
            }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX })
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({
                "type": ["string", "integer"], "pattern": "^-?[0-9]{1,18}$",
                "minimum": i64::MIN, "maximum": i64::MAX,
            }),
            Kind::Uint64 | Kind::Fixed64 => json!({
                "type": ["string", "integer"], "pattern": "^[0-9]{1,19}$",
                "minimum": 0, "maximum": u64::MAX,
            }),
            Kind::Enum(names) => self.reference(names.name(), |schemas| schemas.names(names)),
            Kind::Message(message) if is_text(message) => text(message),
            Kind::Message(message) => {
                self.reference(message.name(), |schemas| schemas.message(message))
            }
        }
    }

    /// The schema of a field, with its comment.
    pub(super) fn of_field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = self.of_shape(field);
        let message = field.parent_message();
        let comment = self.comments.of(&message.parent_file(), field.path());
        if let (Some(object), false) = (schema.as_object_mut(), comment.is_empty()) {
            object.insert("description".to_owned(), comment.into());
        }
        schema
    }

    fn of_shape(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let values = self.of_kind(&entry.map_entry_value_field().kind());
                json!({ "type": "object", "additionalProperties": values })
            }
            kind if field.is_list() => json!({ "type": "array", "items": self.of_kind(&kind) }),
            kind => self.of_kind(&kind),
        }
    }

    fn reference(&mut self, name: &str, write: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.written.contains_key(name) {
            // Before it is written: it may name itself.
            self.written.insert(name.to_owned(), Value::Null);
            let schema = write(self);
            self.written.insert(name.to_owned(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    fn names(&mut self, names: &EnumDescriptor) -> Value {
        let comment = self.comments.of(&names.parent_file(), names.path());
        let mut lines = vec![comment];
        for value in names.values() {
            let comment = self.comments.of(&names.parent_file(), value.path());
            lines.push(format!("- `{}`: {comment}", value.name()));
        }
        let known: Vec<_> = names.values().map(|value| value.name().to_owned()).collect();
        json!({ "type": "string", "enum": known, "description": lines.join("\n") })
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let comment = self.comments.of(&message.parent_file(), message.path());
        let mut properties = Map::new();
        for field in message.fields() {
            properties.insert(field.name().to_owned(), self.of_field(&field));
        }
        if is_content(message) {
            let description = "In place of `data`: any JSON. Answered so where `content_type` is \
                               application/json and the data are JSON.";
            properties.insert("json".to_owned(), json!({ "description": description }));
        }
        json!({ "type": "object", "description": comment, "properties": properties })
    }
}

fn text(message: &MessageDescriptor) -> Value {
    match message.name() {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Duration" => json!({
            "type": "string", "pattern": "^-?[0-9]{1,12}(\\.[0-9]{1,9})?s$", "examples": ["90s"],
        }),
        _ => json!({ "type": "string", "examples": ["name,labels"] }),
    }
}

/// What every refusal looks like.
pub(super) fn error() -> Value {
    let detail = json!({
        "type": "object",
        "description": "One of `google.rpc`: ErrorInfo (`reason`, explained in docs/errors), \
                        BadRequest (`field_violations`), RetryInfo (`retry_delay`), ResourceInfo.",
        "properties": { "@type": { "type": "string" } },
        "required": ["@type"],
    });
    let fields = json!({
        "code": { "type": "integer", "description": "That of HTTP." },
        "status": { "type": "string", "description": "That of gRPC, e.g. INVALID_ARGUMENT." },
        "message": { "type": "string", "description": "For people." },
        "details": { "type": "array", "items": detail },
    });
    let error = json!({
        "type": "object",
        "properties": fields,
        "required": ["code", "status", "message", "details"],
    });
    json!({ "type": "object", "properties": { "error": error }, "required": ["error"] })
}
