//! Which call a method and a path mean, read from the `google.api.http` of each call.
//!
//! Of the annotations' language this knows what our .proto files use: variables that are one
//! segment, custom verbs, additional bindings, a body that is one field or the whole request.

use super::json::field_of;
use http::{Method, uri::PathAndQuery};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, Value};
use std::{borrow::Cow, fmt, sync::Arc};

/// Longer paths are not compared with others to find what was meant.
const HINT_BYTES_MAX: usize = 200;
const HINT_LIKENESS_MIN: f64 = 0.8;

/// Why a call cannot be made over HTTP: a defect of the .proto files.
#[derive(Debug, thiserror::Error)]
#[error("{call}: google.api.http: {what}")]
pub struct BadRule {
    call: String,
    what: String,
}

/// One way of calling.
pub(super) struct Route {
    pub(super) method: Method,
    /// As it is annotated.
    pub(super) template: String,
    segments: Vec<Segment>,
    verb: Option<String>,
    pub(super) variables: Vec<FieldPath>,
    pub(super) body: Payload,
    /// The path of the gRPC call.
    pub(super) target: PathAndQuery,
    pub(super) call: MethodDescriptor,
}

/// A field, from the request down.
pub(super) type FieldPath = Vec<FieldDescriptor>;

/// What the body of an HTTP request is.
pub(super) enum Payload {
    None,
    Whole,
    Field(FieldDescriptor),
}

enum Segment {
    Literal(String),
    Variable,
}

/// What was found.
pub(super) enum Found<'a> {
    /// The call, and the texts of its variables as they stand in the path.
    Route(&'a Arc<Route>, Vec<&'a str>),
    /// The path is known, with the methods of these.
    WrongMethod(Vec<&'a Route>),
    /// What may have been meant.
    Unknown(Option<&'a Route>),
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.template)
    }
}

/// All ways of calling.
#[derive(Default)]
pub(super) struct Table {
    routes: Vec<Arc<Route>>,
}

impl Table {
    /// Adds the ways of a call; a call without annotations has none.
    pub(super) fn add(&mut self, call: &MethodDescriptor) -> Result<(), BadRule> {
        let bad = |what: String| BadRule { call: call.full_name().to_owned(), what };
        let Some(extension) = call.parent_pool().get_extension_by_name("google.api.http") else {
            return Ok(());
        };
        let options = call.options();
        if !options.has_extension(&extension) {
            return Ok(());
        }
        let rule = options.get_extension(&extension);
        let rule = rule.as_message().ok_or_else(|| bad("it is no rule".to_owned()))?;
        self.routes.push(Arc::new(route(call, rule).map_err(bad)?));
        let more = rule.get_field_by_name("additional_bindings");
        for rule in more.as_deref().and_then(Value::as_list).unwrap_or_default() {
            let rule = rule.as_message().ok_or_else(|| bad("it is no rule".to_owned()))?;
            self.routes.push(Arc::new(route(call, rule).map_err(bad)?));
        }
        Ok(())
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().map(AsRef::as_ref)
    }

    pub(super) fn find<'a>(&'a self, method: &Method, path: &'a str) -> Found<'a> {
        let (segments, verb) = split(path);
        let mut others = Vec::new();
        for route in &self.routes {
            let Some(values) = route.matches(&segments, verb) else { continue };
            if route.method == method {
                return Found::Route(route, values);
            }
            others.push(route.as_ref());
        }
        match others.is_empty() {
            false => Found::WrongMethod(others),
            true => Found::Unknown(self.nearest(path)),
        }
    }

    fn nearest(&self, path: &str) -> Option<&Route> {
        if path.len() > HINT_BYTES_MAX {
            return None;
        }
        let like =
            |route: &Route| strsim::normalized_damerau_levenshtein(path, &route.sample(path));
        let nearest = self.routes().map(|route| (like(route), route));
        let (likeness, route) = nearest.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (likeness >= HINT_LIKENESS_MIN).then_some(route)
    }
}

impl Route {
    fn matches<'a>(&self, segments: &[&'a str], verb: Option<&str>) -> Option<Vec<&'a str>> {
        if self.segments.len() != segments.len() || self.verb.as_deref() != verb {
            return None;
        }
        let mut values = Vec::with_capacity(self.variables.len());
        for (segment, text) in self.segments.iter().zip(segments) {
            match segment {
                Segment::Literal(literal) if literal == text => {}
                Segment::Variable if !text.is_empty() => values.push(*text),
                _ => return None,
            }
        }
        Some(values)
    }

    /// A path of this route that is as much like `path` as its variables allow.
    fn sample(&self, path: &str) -> String {
        let given: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let mut sample = String::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let given = given.get(at).copied().unwrap_or_default();
            sample.push('/');
            sample.push_str(match segment {
                Segment::Literal(literal) => literal,
                Segment::Variable => given.split(':').next().unwrap_or_default(),
            });
        }
        if let Some(verb) = &self.verb {
            sample.push(':');
            sample.push_str(verb);
        }
        sample
    }

    /// Whether the call ends its answer when it wants to.
    pub(super) fn streams(&self) -> bool {
        self.call.is_server_streaming()
    }
}

/// The segments of a path, and the verb behind the last colon.
fn split(path: &str) -> (Vec<&str>, Option<&str>) {
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut segments: Vec<_> = path.split('/').collect();
    let verb = segments.last().and_then(|last| last.rsplit_once(':'));
    if let (Some((before, _)), Some(last)) = (verb, segments.last_mut()) {
        *last = before;
    }
    (segments, verb.map(|(_, verb)| verb))
}

fn route(call: &MethodDescriptor, rule: &DynamicMessage) -> Result<Route, String> {
    let text = |name: &str| match rule.get_field_by_name(name).map(Cow::into_owned) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let methods = [
        ("get", Method::GET),
        ("post", Method::POST),
        ("put", Method::PUT),
        ("patch", Method::PATCH),
        ("delete", Method::DELETE),
    ];
    let mut given = methods.into_iter().filter_map(|(name, method)| Some((method, text(name)?)));
    let (method, template) = given.next().ok_or("it names no path")?;
    let (parts, verb) = split(&template);
    let mut segments = Vec::new();
    let mut variables = Vec::new();
    for part in parts {
        let variable = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        segments.push(match variable {
            Some(name) => {
                variables.push(field_path(call, name)?);
                Segment::Variable
            }
            None if part.contains(['{', '}', '*', '=']) => {
                return Err(format!("{part:?} is not supported"));
            }
            None => Segment::Literal(part.to_owned()),
        });
    }
    let body = match text("body") {
        None => Payload::None,
        Some(body) if body == "*" => Payload::Whole,
        Some(body) => {
            let field = call.input().get_field_by_name(&body);
            let field = field.filter(|field| matches!(field.kind(), Kind::Message(_)));
            Payload::Field(field.ok_or_else(|| format!("{body:?} is no message of the request"))?)
        }
    };
    if text("response_body").is_some() {
        return Err("response_body is not supported".to_owned());
    }
    let target = format!("/{}/{}", call.parent_service().full_name(), call.name());
    let target = target.parse().map_err(|error| format!("{target}: {error}"))?;
    let verb = verb.map(str::to_owned);
    let call = call.clone();
    Ok(Route { method, template, segments, verb, variables, body, target, call })
}

fn field_path(call: &MethodDescriptor, names: &str) -> Result<FieldPath, String> {
    let mut path: FieldPath = Vec::new();
    let mut message = Some(call.input());
    for name in names.split('.') {
        let field = message.as_ref().and_then(|message| field_of(message, name));
        let field = field.ok_or_else(|| format!("{names:?} is no field of the request"))?;
        message = field.kind().as_message().cloned();
        path.push(field);
    }
    Ok(path)
}
