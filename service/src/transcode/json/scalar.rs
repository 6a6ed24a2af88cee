//! One JSON value that is no list and no object, as the field's kind wants it.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, MessageDescriptor, Value};
use serde::de::{IntoDeserializer, value::StrDeserializer};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
/// Most names of an enum that a violation lists.
const NAMES_MAX: usize = 12;

/// What JSON knows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scalar<'a> {
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(&'a str),
}

/// Makes the value of a field of this kind.
///
/// # Errors
/// What it should be, to be read behind the field's name.
pub(crate) fn convert(kind: &Kind, scalar: Scalar<'_>) -> Result<Value, String> {
    match kind {
        Kind::Bool => match scalar {
            Scalar::Bool(value) => Ok(Value::Bool(value)),
            _ => Err("must be true or false".to_owned()),
        },
        Kind::String => match scalar {
            Scalar::Text(text) => Ok(Value::String(text.to_owned())),
            _ => Err("must be a text".to_owned()),
        },
        Kind::Bytes => match scalar {
            Scalar::Text(text) => bytes(text),
            _ => Err("must be a text in base64".to_owned()),
        },
        Kind::Double => float(scalar).map(Value::F64),
        Kind::Float => float(scalar).map(|value| Value::F32(value as f32)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => integer(scalar).map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => integer(scalar).map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => integer(scalar).map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => integer(scalar).map(Value::U64),
        Kind::Enum(names) => enumeration(names, scalar),
        Kind::Message(message) => well_known(message, scalar),
    }
}

fn bytes(text: &str) -> Result<Value, String> {
    let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    decoded.map(|data| Value::Bytes(data.into())).map_err(|error| format!("is no base64: {error}"))
}

fn float(scalar: Scalar<'_>) -> Result<f64, String> {
    let refused = || "must be a number".to_owned();
    match scalar {
        Scalar::Float(value) => Ok(value),
        Scalar::Int(value) => Ok(value as f64),
        Scalar::Text("NaN") => Ok(f64::NAN),
        Scalar::Text("Infinity") => Ok(f64::INFINITY),
        Scalar::Text("-Infinity") => Ok(f64::NEG_INFINITY),
        // Rust reads "inf" and "nan" too, which are no JSON.
        Scalar::Text(text) if text.bytes().all(|b| b"+-.eE0123456789".contains(&b)) => {
            text.parse().map_err(|_| refused())
        }
        _ => Err(refused()),
    }
}

fn integer<T: TryFrom<i128>>(scalar: Scalar<'_>) -> Result<T, String> {
    let value = match scalar {
        Scalar::Int(value) => Some(value),
        Scalar::Float(value) if value.fract() == 0.0 && value.abs() < 1e18 => Some(value as i128),
        Scalar::Text(text) => text.parse().ok(),
        _ => None,
    };
    let bits = 8 * size_of::<T>();
    value
        .ok_or_else(|| "must be a whole number".to_owned())?
        .try_into()
        .map_err(|_| format!("must be a whole number that fits in {bits} bits"))
}

fn enumeration(names: &EnumDescriptor, scalar: Scalar<'_>) -> Result<Value, String> {
    match scalar {
        Scalar::Int(_) | Scalar::Float(_) => integer(scalar).map(Value::EnumNumber),
        Scalar::Text(text) => match names.get_value_by_name(text) {
            Some(value) => Ok(Value::EnumNumber(value.number())),
            None => Err(not_one_of(names, text)),
        },
        Scalar::Bool(_) => Err(format!("must be the name of a {}", names.name())),
    }
}

fn not_one_of(names: &EnumDescriptor, text: &str) -> String {
    let mut known: Vec<_> = names.values().map(|value| value.name().to_owned()).collect();
    if known.len() > NAMES_MAX {
        known.truncate(NAMES_MAX);
        known.push("…".to_owned());
    }
    let text: String = text.chars().take(64).collect();
    format!("is {text:?}, which is none of {}", known.join(", "))
}

fn well_known(message: &MessageDescriptor, scalar: Scalar<'_>) -> Result<Value, String> {
    let example = match message.name() {
        "Timestamp" => "a time such as \"2026-01-31T12:00:00Z\"",
        "Duration" => "a duration in seconds such as \"90s\" or \"1.5s\"",
        "FieldMask" => "names of fields such as \"name,labels\"",
        _ => "an object",
    };
    let Scalar::Text(text) = scalar else {
        return Err(format!("must be {example}"));
    };
    if message.name() == "FieldMask" {
        return Ok(Value::Message(mask(message, text)));
    }
    let source: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    DynamicMessage::deserialize(message.clone(), source)
        .map(Value::Message)
        .map_err(|_| format!("must be {example}"))
}

/// The names as they are: what they must be is said by who reads the mask. Protobuf's own mapping
/// takes lowerCamelCase only; here both spellings are one.
fn mask(message: &MessageDescriptor, text: &str) -> DynamicMessage {
    let names = text.split(',').filter(|name| !name.is_empty());
    let paths = names.map(|name| Value::String(snake_case(name.trim()))).collect();
    let mut mask = DynamicMessage::new(message.clone());
    mask.set_field_by_name("paths", Value::List(paths));
    mask
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
