//! JSON → a message, in one pass. What is no JSON ends it, with line and column; what is JSON and
//! does not fit is collected, so that all of it is told at once.

use super::{
    CONTENT_JSON, Scalar, convert,
    depth::{self, DEPTH_MAX},
    is_content, is_text,
};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{cell::RefCell, collections::HashMap, fmt};

/// Most violations that are told of one request.
const VIOLATIONS_MAX: usize = 100;
/// Most bytes of a name that somebody made up in a violation.
const NAME_BYTES_MAX: usize = 128;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub field: String,
    pub description: String,
}

/// Why a text is not the message that was asked for.
#[derive(Debug)]
pub(crate) enum Problem {
    /// It is not JSON.
    Malformed(String),
    /// It is, and does not fit.
    Invalid(Vec<Violation>),
}

/// Reads `text`; violations name their fields from `within` on.
///
/// # Errors
/// [`Problem`].
pub(crate) fn read(
    text: &[u8],
    message: &MessageDescriptor,
    within: &str,
) -> Result<DynamicMessage, Problem> {
    let walk = Walk::default();
    if !within.is_empty() {
        walk.enter(Step::Name(within.to_owned()));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let seed = Slot { walk: &walk, shape: Shape::of_kind(&Kind::Message(message.clone())) };
    let value = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    let value = value.map_err(|error| Problem::Malformed(walk.describe(&error)))?;
    let violations = walk.violations.into_inner();
    match value {
        _ if !violations.is_empty() => Err(Problem::Invalid(violations)),
        Some(Value::Message(read)) => Ok(read),
        _ => Ok(DynamicMessage::new(message.clone())),
    }
}

enum Step {
    Name(String),
    Index(usize),
    Key(String),
}

/// Where the reader is, and what it has met.
#[derive(Default)]
struct Walk {
    path: RefCell<Vec<Step>>,
    violations: RefCell<Vec<Violation>>,
}

impl Walk {
    fn enter(&self, step: Step) {
        self.path.borrow_mut().push(step);
    }

    /// Not called on the way of an error, so that the path tells where it was.
    fn leave(&self) {
        self.path.borrow_mut().pop();
    }

    fn place(&self) -> String {
        let mut text = String::new();
        for step in self.path.borrow().iter() {
            match step {
                Step::Name(name) if text.is_empty() => text.push_str(name),
                Step::Name(name) => text = format!("{text}.{name}"),
                Step::Index(index) => text = format!("{text}[{index}]"),
                Step::Key(key) => text = format!("{text}[{key:?}]"),
            }
        }
        text
    }

    fn refuse(&self, description: impl Into<String>) {
        let mut violations = self.violations.borrow_mut();
        if violations.len() < VIOLATIONS_MAX {
            let (field, description) = (self.place(), description.into());
            violations.push(Violation { field, description });
        }
    }

    fn refuse_at(&self, name: &str, description: impl Into<String>) {
        self.enter(Step::Name(shorten(name)));
        self.refuse(description);
        self.leave();
    }

    fn describe(&self, error: &serde_json::Error) -> String {
        match self.place() {
            place if place.is_empty() => format!("the JSON cannot be read: {error}"),
            place => format!("the JSON cannot be read: {error}, in {place}"),
        }
    }
}

fn shorten(name: &str) -> String {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

enum Shape {
    Leaf(Kind),
    Message(MessageDescriptor),
    Content(MessageDescriptor),
    List(Kind),
    Map(MessageDescriptor),
}

impl Shape {
    fn of_kind(kind: &Kind) -> Self {
        match kind {
            Kind::Message(message) if is_content(message) => Self::Content(message.clone()),
            Kind::Message(message) if !is_text(message) => Self::Message(message.clone()),
            kind => Self::Leaf(kind.clone()),
        }
    }

    fn of(field: &FieldDescriptor) -> Self {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => Self::Map(entry),
            kind if field.is_list() => Self::List(kind),
            kind => Self::of_kind(&kind),
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            Self::Leaf(_) => "must be a single value, not a list or an object",
            Self::List(_) => "must be a list",
            _ => "must be an object",
        }
    }
}

/// A place for a value: `None` where there was null, or nothing that fits.
struct Slot<'w> {
    walk: &'w Walk,
    shape: Shape,
}

impl<'de> DeserializeSeed<'de> for Slot<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Slot<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.leaf(Scalar::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.leaf(Scalar::Int(value.into())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.leaf(Scalar::Int(value.into())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(self.leaf(Scalar::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(self.leaf(Scalar::Text(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let Shape::List(kind) = &self.shape else {
            self.walk.refuse(self.shape.expected());
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        let mut list = Vec::new();
        for index in 0.. {
            self.walk.enter(Step::Index(index));
            let slot = Slot { walk: self.walk, shape: Shape::of_kind(kind) };
            let before = self.walk.violations.borrow().len();
            let item = items.next_element_seed(slot)?;
            if matches!(item, Some(None)) && self.walk.violations.borrow().len() == before {
                self.walk.refuse("must not be null");
            }
            self.walk.leave();
            match item {
                Some(value) => list.extend(value),
                None => break,
            }
        }
        Ok(Some(Value::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        match &self.shape {
            Shape::Message(message) => self.message(message, entries),
            Shape::Content(message) => self.content(message, entries),
            Shape::Map(entry) => self.map(entry, entries),
            Shape::Leaf(_) | Shape::List(_) => {
                self.walk.refuse(self.shape.expected());
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(None)
            }
        }
    }
}

impl Slot<'_> {
    fn leaf(self, scalar: Scalar<'_>) -> Option<Value> {
        let Shape::Leaf(kind) = &self.shape else {
            self.walk.refuse(self.shape.expected());
            return None;
        };
        convert(kind, scalar).map_err(|expected| self.walk.refuse(expected)).ok()
    }

    fn message<'de, A: MapAccess<'de>>(
        &self,
        message: &MessageDescriptor,
        mut entries: A,
    ) -> Result<Option<Value>, A::Error> {
        let mut read = DynamicMessage::new(message.clone());
        let mut seen = Vec::new();
        while let Some(name) = entries.next_key::<String>()? {
            let Some(field) = field_of(message, &name) else {
                self.walk.refuse_at(&name, unknown(message, &name));
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            self.walk.enter(Step::Name(field.name().to_owned()));
            if seen.contains(&field.number()) {
                self.walk.refuse("is given twice");
            }
            seen.push(field.number());
            let slot = Slot { walk: self.walk, shape: Shape::of(&field) };
            if let Some(value) = entries.next_value_seed(slot)? {
                if let Some(other) = rival(&read, &field) {
                    self.walk.refuse(format!("cannot be given together with {other}"));
                }
                read.set_field(&field, value);
            }
            self.walk.leave();
        }
        Ok(Some(Value::Message(read)))
    }

    /// `data` and `content_type`, or `json` in place of `data`, whose text is kept as it is.
    fn content<'de, A: MapAccess<'de>>(
        &self,
        message: &MessageDescriptor,
        mut entries: A,
    ) -> Result<Option<Value>, A::Error> {
        let mut read = DynamicMessage::new(message.clone());
        let mut json = false;
        while let Some(name) = entries.next_key::<String>()? {
            if name == "json" {
                let text = entries.next_value::<Box<RawValue>>()?;
                let data = bytes::Bytes::copy_from_slice(text.get().as_bytes());
                let twice = json || read.has_field_by_name("data");
                if twice {
                    self.walk.refuse_at("json", "is given twice, or beside data");
                }
                if !depth::is_readable(text.get().as_bytes()) {
                    let what = format!("is nested too deep: {DEPTH_MAX} levels at most");
                    self.walk.refuse_at("json", what);
                }
                json = true;
                read.set_field_by_name("data", Value::Bytes(data));
                continue;
            }
            let Some(field) = field_of(message, &name) else {
                self.walk.refuse_at(&name, "is no field of it: data, content_type and json are");
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            self.walk.enter(Step::Name(field.name().to_owned()));
            if read.has_field(&field) {
                self.walk.refuse("is given twice, or beside json");
            }
            let slot = Slot { walk: self.walk, shape: Shape::of(&field) };
            if let Some(value) = entries.next_value_seed(slot)? {
                read.set_field(&field, value);
            }
            self.walk.leave();
        }
        if json {
            let kind = Value::String(CONTENT_JSON.to_owned());
            if read.has_field_by_name("content_type")
                && read.get_field_by_name("content_type").as_deref() != Some(&kind)
            {
                self.walk.refuse_at("content_type", "is application/json where json is given");
            }
            read.set_field_by_name("content_type", kind);
        }
        Ok(Some(Value::Message(read)))
    }

    fn map<'de, A: MapAccess<'de>>(
        &self,
        entry: &MessageDescriptor,
        mut entries: A,
    ) -> Result<Option<Value>, A::Error> {
        let (key_kind, kind) =
            (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let mut map: HashMap<MapKey, Value> = HashMap::new();
        while let Some(text) = entries.next_key::<String>()? {
            self.walk.enter(Step::Key(shorten(&text)));
            let key = match convert(&key_kind, Scalar::Text(&text)) {
                Ok(value) => value.into_map_key(),
                Err(expected) => {
                    self.walk.refuse(format!("the key {expected}"));
                    None
                }
            };
            let slot = Slot { walk: self.walk, shape: Shape::of_kind(&kind) };
            let before = self.walk.violations.borrow().len();
            let value = entries.next_value_seed(slot)?;
            if value.is_none() && self.walk.violations.borrow().len() == before {
                self.walk.refuse("must not be null");
            }
            if let (Some(key), Some(value)) = (key, value)
                && map.insert(key, value).is_some()
            {
                self.walk.refuse("is given twice");
            }
            self.walk.leave();
        }
        Ok(Some(Value::Map(map)))
    }
}

/// Finds it by either spelling.
pub(crate) fn field_of(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name))
}

/// Says that there is no such field, and which one may be meant.
pub(crate) fn unknown(message: &MessageDescriptor, name: &str) -> String {
    let near = |field: &FieldDescriptor| strsim::jaro_winkler(&shorten(name), field.name());
    let nearest = message.fields().max_by(|a, b| near(a).total_cmp(&near(b)));
    match nearest {
        Some(field) if near(&field) > 0.75 => {
            format!("is no field of {}; is {} meant?", message.name(), field.name())
        }
        _ => format!("is no field of {}", message.name()),
    }
}

/// The other member of its oneof that is set already.
fn rival(message: &DynamicMessage, field: &FieldDescriptor) -> Option<String> {
    let oneof = field.containing_oneof()?;
    let mut others = oneof.fields().filter(|other| other.number() != field.number());
    others.find(|other| message.has_field(other)).map(|other| other.name().to_owned())
}
