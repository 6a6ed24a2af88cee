//! Variables, conditions, expected errors and times.

use std::{fmt, time::Duration};

use asyncflow_sdk::Error;
use serde_json::{Map, Value};

use crate::player::Player;

const JUDGED: [&str; 6] = ["do", "save", "expect", "expect_error", "at_most_ms", "at_least_ms"];

/// Why a step did not do what the scenario says.
pub enum Trouble {
    /// The runner says so.
    Failed(String),
    /// The SDK says so.
    Call(Error),
}

impl Trouble {
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message) => out.write_str(message),
            Self::Call(error) => write!(out, "{}: {error}", code_name(error)),
        }
    }
}

impl fmt::Debug for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl std::error::Error for Trouble {}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

/// `DeadlineExceeded` → `DEADLINE_EXCEEDED`.
pub fn code_name(error: &Error) -> String {
    let mut name = String::new();
    for letter in format!("{:?}", error.code()).chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

/// The field at this path; `#` is the length of a list.
fn look(value: &Value, path: &str) -> Option<Value> {
    let mut found = value.clone();
    for part in path.split('.') {
        found = match (&found, part) {
            (Value::Array(items), "#") => items.len().into(),
            (Value::Array(items), index) => items.get(index.parse::<usize>().ok()?)?.clone(),
            (Value::Object(fields), "#") if fields.is_empty() => 0.into(),
            (Value::Object(fields), name) => match fields.get(name) {
                Some(field) => field.clone(),
                None if path.ends_with('#') => Value::Array(Vec::new()),
                None => return None,
            },
            _ => return None,
        };
    }
    Some(found)
}

/// The text with all `$name.path` replaced.
fn fill_text(text: &str, saved: &Map<String, Value>) -> Result<String, Trouble> {
    let mut parts = text.split('$');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
        let (variable, rest) = part.split_at(end.unwrap_or(part.len()));
        // A dot at the end is the sentence's.
        let (variable, dots) = variable.split_at(variable.trim_end_matches('.').len());
        let (name, path) = variable.split_once('.').unwrap_or((variable, ""));
        let found = saved.get(name).and_then(|value| match path {
            "" => Some(value.clone()),
            path => look(value, path),
        });
        match found {
            Some(Value::String(value)) => filled.push_str(&value),
            Some(value) => filled.push_str(&value.to_string()),
            None => return Err(Trouble::failed(format!("${variable} is not there"))),
        }
        filled.push_str(dots);
        filled.push_str(rest);
    }
    Ok(filled)
}

fn fill(value: &Value, saved: &Map<String, Value>) -> Result<Value, Trouble> {
    Ok(match value {
        Value::String(text) => fill_text(text, saved)?.into(),
        Value::Array(items) => {
            items.iter().map(|item| fill(item, saved)).collect::<Result<Vec<_>, _>>()?.into()
        }
        Value::Object(fields) => {
            let mut filled = Map::new();
            for (key, field) in fields {
                filled.insert(fill_text(key, saved)?, fill(field, saved)?);
            }
            filled.into()
        }
        other => other.clone(),
    })
}

/// Equal, with int64 as strings, and with what proto JSON leaves out.
fn is_equal(found: Option<&Value>, wanted: &Value) -> bool {
    match (found, wanted) {
        (None, Value::Number(number)) => number.as_f64() == Some(0.0),
        (None, Value::String(text)) => text.is_empty(),
        (None, Value::Bool(is)) => !is,
        (None, Value::Array(items)) => items.is_empty(),
        (None, Value::Object(fields)) => fields.is_empty(),
        (None, Value::Null) => false,
        (Some(Value::String(text)), Value::Number(number)) => *text == number.to_string(),
        (Some(Value::Number(a)), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Some(found), wanted) => found == wanted,
    }
}

fn holds(found: Option<&Value>, condition: &Value) -> Result<bool, Trouble> {
    let Value::Object(fields) = condition else { return Ok(is_equal(found, condition)) };
    match (fields.get("any"), fields.get("exists"), fields.len()) {
        (Some(Value::Array(any)), None, 1) => Ok(any.iter().any(|one| is_equal(found, one))),
        (None, Some(Value::Bool(exists)), 1) => Ok(found.is_some() == *exists),
        (None, None, _) => Ok(is_equal(found, condition)),
        _ => Err(Trouble::failed(format!("this is no condition: {condition}"))),
    }
}

fn sorted(fields: impl IntoIterator<Item = String>) -> Value {
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort();
    fields.into()
}

fn check_error(error: &Error, expected: &Value) -> Result<(), Trouble> {
    for (key, wanted) in expected.as_object().into_iter().flatten() {
        let mut wanted = wanted.clone();
        let given = match key.as_str() {
            "code" => code_name(error).into(),
            "reason" => error.reason().unwrap_or_default().into(),
            "retryable" => error.is_retryable().into(),
            "violations" => {
                let fields = wanted.as_array().into_iter().flatten();
                wanted = sorted(fields.filter_map(|one| one.as_str().map(str::to_owned)));
                sorted(error.violations().into_iter().map(|violation| violation.field))
            }
            key => return Err(Trouble::failed(format!("expect_error: there is no {key}"))),
        };
        if !holds(Some(&given), &wanted)? {
            return Err(Trouble::failed(format!("{key}: {given} instead of {wanted}; {error}")));
        }
    }
    Ok(())
}

fn check_answer(answer: &Value, expected: &Value) -> Result<(), Trouble> {
    for (path, condition) in expected.as_object().into_iter().flatten() {
        let found = look(answer, path);
        if !holds(found.as_ref(), condition)? {
            let found = found.unwrap_or_default();
            return Err(Trouble::failed(format!("{path}: {found} instead of {condition}")));
        }
    }
    Ok(())
}

/// Does a step and judges it.
pub async fn play_step(player: &mut Player, step: &Value) -> Result<(), Trouble> {
    let step = fill(step, &player.saved)?;
    let fields = step.as_object().into_iter().flatten();
    let fields: Map<_, _> = fields
        .filter(|(key, _)| !JUDGED.contains(&key.as_str()))
        .map(|(key, field)| (key.clone(), field.clone()))
        .collect();
    let at_least = Duration::from_millis(step["at_least_ms"].as_u64().unwrap_or(0));
    let at_most = step["at_most_ms"].as_u64().map_or(Duration::MAX, Duration::from_millis);
    let not_yet = tokio::spawn(tokio::time::sleep(at_least));
    let doing = player.do_step(step["do"].as_str().unwrap_or_default(), fields);
    let Ok(done) = tokio::time::timeout(at_most, doing).await else {
        return Err(Trouble::failed(format!("it took more than {at_most:?}")));
    };
    if !at_least.is_zero() && !not_yet.is_finished() {
        return Err(Trouble::failed(format!("it took less than {at_least:?}")));
    }
    match (done, step.get("expect_error")) {
        (Err(Trouble::Call(error)), Some(expected)) => check_error(&error, expected),
        (Ok(answer), Some(_)) => Err(Trouble::failed(format!("it succeeded: {answer}"))),
        (Err(trouble), _) => Err(trouble),
        (Ok(answer), None) => {
            check_answer(&answer, &step["expect"])?;
            if let Some(name) = step["save"].as_str() {
                player.saved.insert(name.to_owned(), answer);
            }
            Ok(())
        }
    }
}
