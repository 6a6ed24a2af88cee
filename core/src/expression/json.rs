//! JSON values as CEL has them, and back.

use std::{collections::HashMap, sync::Arc};

use cel::{
    Value,
    objects::{Key, Map},
};
use serde_json::{Map as JsonMap, Number, Value as Json};

/// Whole numbers become `int`, so that they can be counted with; CEL does not mix `int` and `uint`.
pub(super) fn to_cel(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) => Value::UInt(value),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), to_cel(value)));
            Value::Map(Map::from(fields.collect::<HashMap<String, Value>>()))
        }
    }
}

/// The other way round. Keys that are no text are written as text.
///
/// # Errors
/// For what JSON does not have: bytes, functions, numbers that are not finite.
pub(super) fn from_cel(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::UInt(value) => Json::from(*value),
        Value::Float(value) => {
            let number = Number::from_f64(*value);
            number.map(Json::Number).ok_or_else(|| format!("{value} is no number of JSON"))?
        }
        Value::String(text) => Json::String(text.as_str().to_owned()),
        Value::List(items) => Json::Array(items.iter().map(from_cel).collect::<Result<_, _>>()?),
        Value::Map(map) => {
            let mut fields = JsonMap::new();
            for (key, value) in map.map.iter() {
                fields.insert(key_text(key), from_cel(value)?);
            }
            Json::Object(fields)
        }
        other => return Err(format!("{other:?} is no value of JSON")),
    })
}

fn key_text(key: &Key) -> String {
    match key {
        Key::String(text) => text.as_str().to_owned(),
        Key::Int(value) => value.to_string(),
        Key::Uint(value) => value.to_string(),
        Key::Bool(value) => value.to_string(),
    }
}
