//! Fields that stand in the path and in the query.

use super::{
    json::{Scalar, Violation, convert, field_of, is_text, unknown},
    table::{FieldPath, Payload, Route},
};
use percent_encoding::percent_decode_str;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};

/// Sets what the query says.
pub(super) fn query(
    message: &mut DynamicMessage,
    route: &Route,
    query: &str,
    violations: &mut Vec<Violation>,
) {
    let mut seen: Vec<String> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(text)) = (decode(name, true), decode(text, true)) else {
            let field = String::from_utf8_lossy(name.as_bytes()).into_owned();
            violations.push(violation(field, "the query is no UTF-8"));
            continue;
        };
        let path = match find(&message.descriptor(), &name) {
            Ok(path) => path,
            Err(description) => {
                violations.push(violation(name, description));
                continue;
            }
        };
        let name = dotted(&path);
        if let Some(problem) = misplaced(route, &path) {
            violations.push(violation(name, problem));
            continue;
        }
        let many = path.last().is_some_and(FieldDescriptor::is_list);
        if !many && seen.contains(&name) {
            violations.push(violation(name, "is given twice"));
            continue;
        }
        if let Err(expected) = set(message, &path, &text) {
            violations.push(violation(name.clone(), expected));
        }
        seen.push(name);
    }
}

/// Sets what stands in the path.
pub(super) fn path(
    message: &mut DynamicMessage,
    route: &Route,
    values: &[String],
    violations: &mut Vec<Violation>,
) {
    for (path, text) in route.variables.iter().zip(values) {
        let Some(text) = decode(text, false) else {
            violations.push(violation(dotted(path), "the path is no UTF-8"));
            continue;
        };
        let before = get(message, path);
        if let Err(expected) = set(message, path, &text) {
            violations.push(violation(dotted(path), expected));
        } else if before.is_some() && before != get(message, path) {
            violations.push(violation(dotted(path), "differs from what the path says"));
        }
    }
}

fn violation(field: String, description: impl Into<String>) -> Violation {
    Violation { field, description: description.into() }
}

fn decode(text: &str, is_query: bool) -> Option<String> {
    let spaced = if is_query { text.replace('+', " ") } else { text.to_owned() };
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned())
}

pub(super) fn dotted(path: &FieldPath) -> String {
    path.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".")
}

fn find(message: &MessageDescriptor, name: &str) -> Result<FieldPath, String> {
    let mut path: FieldPath = Vec::new();
    let mut within = Some(message.clone());
    for part in name.split('.') {
        let Some(message) = &within else {
            return Err(format!("{} has no fields", dotted(&path)));
        };
        let field = field_of(message, part).ok_or_else(|| unknown(message, part))?;
        within = match field.kind() {
            Kind::Message(inner) if !field.is_list() && !is_text(&inner) => Some(inner),
            _ => None,
        };
        path.push(field);
    }
    match path.last() {
        Some(field) if within.is_some() || field.is_map() => {
            Err(format!("{} is an object: give its fields, or a body", field.name()))
        }
        Some(field) if field.is_list() && matches!(field.kind(), Kind::Message(_)) => {
            Err("holds objects, which a query cannot".to_owned())
        }
        _ => Ok(path),
    }
}

/// Why this field is not to be given in the query of this route.
fn misplaced(route: &Route, path: &FieldPath) -> Option<&'static str> {
    if route.variables.contains(path) {
        return Some("is given by the path already");
    }
    match &route.body {
        Payload::Whole => Some("belongs into the body here"),
        Payload::Field(body) if path.first() == Some(body) => Some("belongs into the body here"),
        _ => None,
    }
}

fn get(message: &DynamicMessage, path: &FieldPath) -> Option<Value> {
    let (field, above) = path.split_last()?;
    let mut message = message.clone();
    for step in above {
        match message.take_field(step) {
            Some(Value::Message(inner)) => message = inner,
            _ => return None,
        }
    }
    message.has_field(field).then(|| message.get_field(field).into_owned())
}

fn set(message: &mut DynamicMessage, path: &FieldPath, text: &str) -> Result<(), String> {
    let Some((field, above)) = path.split_last() else { return Ok(()) };
    let value = convert_text(&field.kind(), text)?;
    let mut inner = message;
    for step in above {
        match inner.get_field_mut(step) {
            Value::Message(next) => inner = next,
            _ => return Err("is not within an object".to_owned()),
        }
    }
    match inner.get_field_mut(field) {
        Value::List(items) => items.push(value),
        _ => inner.set_field(field, value),
    }
    Ok(())
}

/// Everything is text there, also what is none in JSON.
fn convert_text(kind: &Kind, text: &str) -> Result<Value, String> {
    let scalar = match (kind, text) {
        (Kind::Bool, "true") => Scalar::Bool(true),
        (Kind::Bool, "false") => Scalar::Bool(false),
        (Kind::Enum(_), _) => match text.parse() {
            Ok(number) => Scalar::Int(number),
            Err(_) => Scalar::Text(text),
        },
        _ => Scalar::Text(text),
    };
    convert(kind, scalar)
}
