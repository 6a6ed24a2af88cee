//! Messages as proto JSON with the names of the proto.

use std::sync::LazyLock;

use asyncflow_proto::FILE_DESCRIPTOR_SET;
use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Map, Value, json};

use crate::story::Trouble;

const JSON: &str = "application/json";

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok());

fn descriptor(name: &str) -> Result<MessageDescriptor, Trouble> {
    let found =
        POOL.as_ref().and_then(|pool| pool.get_message_by_name(&format!("asyncflow.v1.{name}")));
    found.ok_or_else(|| Trouble::failed(format!("there is no message {name}")))
}

/// A message of this name from proto JSON.
pub fn read<T: Message + Default>(name: &str, value: &Value) -> Result<T, Trouble> {
    let wrong = |error: &dyn std::fmt::Display| Trouble::failed(format!("{name}: {error}"));
    let value = contents_in(value);
    let read = DynamicMessage::deserialize(descriptor(name)?, &value);
    let read = read.map_err(|error| wrong(&error))?;
    T::decode(&*read.encode_to_vec()).map_err(|error| wrong(&error))
}

/// The message as proto JSON, with the value of each content that is JSON.
pub fn write<T: Message>(name: &str, message: &T) -> Result<Value, Trouble> {
    let wrong = |error: &dyn std::fmt::Display| Trouble::failed(format!("{name}: {error}"));
    let read = DynamicMessage::decode(descriptor(name)?, &*message.encode_to_vec());
    let read = read.map_err(|error| wrong(&error))?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let value = read.serialize_with_options(serde_json::value::Serializer, &options);
    Ok(contents_out(value.map_err(|error| wrong(&error))?))
}

fn contents_in(value: &Value) -> Value {
    match value {
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("json") => {
            let data = fields["json"].to_string();
            json!({"data": BASE64_STANDARD.encode(data), "content_type": JSON})
        }
        Value::Object(fields) => {
            fields.iter().map(|(key, field)| (key.clone(), contents_in(field))).collect()
        }
        Value::Array(items) => items.iter().map(contents_in).collect(),
        other => other.clone(),
    }
}

fn contents_out(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(contents_out).collect(),
        Value::Object(fields) => {
            let out = fields.into_iter().map(|(key, field)| (key, contents_out(field)));
            let mut fields: Map<String, Value> = out.collect();
            if fields.get("content_type").is_some_and(|kind| kind == JSON)
                && let Some(value) = json_of(&fields)
            {
                fields.insert("json".to_owned(), value);
            }
            fields.into()
        }
        other => other,
    }
}

fn json_of(content: &Map<String, Value>) -> Option<Value> {
    let data = BASE64_STANDARD.decode(content.get("data")?.as_str()?).ok()?;
    serde_json::from_slice(&data).ok()
}
