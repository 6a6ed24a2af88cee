//! Layers → typed struct, with every error on the way.

use super::{
    errors::{ConfigErrors, Violation},
    mask::{is_secret_key, mask_urls},
    rules::{Rules, Validate},
    sources::Sources,
};
use config::{ConfigError, Value, ValueKind};
use serde::de::DeserializeOwned;
use std::collections::HashSet;

/// Loads and validates a configuration.
///
/// # Errors
/// [`ConfigErrors`] with all unknown keys, values of a wrong kind and broken rules at once.
pub fn load<T: DeserializeOwned + Validate>(sources: &Sources) -> Result<T, ConfigErrors> {
    let defaults = sources.defaults_tree()?;
    let merged = sources.merged_tree()?;
    let mut errors = ConfigErrors::default();
    let typed: Option<T> = deserialize(merged, &defaults, &mut errors);
    if let Some(typed) = &typed {
        let mut rules = Rules::default();
        typed.validate(&mut rules);
        errors.extend(rules.into_broken());
    }
    match typed {
        Some(typed) if errors.is_empty() => Ok(typed),
        _ => Err(errors),
    }
}

/// Serde stops at the first bad value. So a bad value is noted, replaced by its default, and the
/// tree is read again, until it reads or a key fails twice.
fn deserialize<T: DeserializeOwned>(
    mut tree: Value,
    defaults: &Value,
    errors: &mut ConfigErrors,
) -> Option<T> {
    let mut repaired = HashSet::new();
    loop {
        let mut unknown = Vec::new();
        let attempt = serde_ignored::deserialize(tree.clone(), |path: serde_ignored::Path<'_>| {
            unknown.push(path.to_string().replace(".?", "").replace("?.", ""));
        });
        let error = match attempt {
            Ok(typed) => {
                errors.extend(unknown.into_iter().map(|key| unknown_key(&tree, key)));
                return Some(typed);
            }
            Err(error) => error,
        };
        let key = key_of(&error);
        errors.extend([bad_value(&tree, &key, &error)]);
        let base = key.split('[').next().unwrap_or_default().to_owned();
        if base.is_empty() || !repaired.insert(base.clone()) {
            errors.extend(unknown.into_iter().map(|key| unknown_key(&tree, key)));
            return None;
        }
        let default = find(defaults, &base).cloned();
        replace(&mut tree, &base, default);
    }
}

fn unknown_key(tree: &Value, key: String) -> Violation {
    let message = format!("unknown key{}", origin(tree, &key));
    Violation { key, message }
}

fn bad_value(tree: &Value, key: &str, error: &ConfigError) -> Violation {
    let message = match cause(error) {
        ConfigError::NotFound(_) => "the key is missing".to_owned(),
        _ if is_secret_key(key) => "the value is of the wrong kind (not shown)".to_owned(),
        ConfigError::Type { expected, .. }
            if expected.contains("integer") && is_negative(find(tree, key)) =>
        {
            "it must not be negative".to_owned()
        }
        ConfigError::Type { unexpected, expected, .. } => {
            mask_urls(&format!("{unexpected} is not {expected}"))
        }
        other => {
            let value = find(tree, key).and_then(|value| value.clone().into_string().ok());
            let told = value.map(|value| format!("{value:?} is refused: "));
            mask_urls(&format!("{}{other}", told.unwrap_or_default()))
        }
    };
    Violation { key: key.to_owned(), message: message + &origin(tree, key) }
}

/// Where a number was wanted that is none below 0, the library says of `-1` that it is no number.
fn is_negative(value: Option<&Value>) -> bool {
    match value.map(|value| &value.kind) {
        Some(ValueKind::I64(number)) => *number < 0,
        Some(ValueKind::String(text)) => text.parse::<i64>().is_ok_and(|number| number < 0),
        _ => false,
    }
}

fn key_of(error: &ConfigError) -> String {
    match error {
        ConfigError::NotFound(key) => key.clone(),
        ConfigError::Type { key, .. } | ConfigError::At { key, .. } => {
            key.clone().unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn cause(error: &ConfigError) -> &ConfigError {
    match error {
        ConfigError::At { error, .. } => cause(error),
        other => other,
    }
}

fn origin(tree: &Value, key: &str) -> String {
    let origin = find(tree, key.split('[').next().unwrap_or(key)).and_then(Value::origin);
    origin.map(|origin| format!(" (from {origin})")).unwrap_or_default()
}

fn find<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(tree, |value, part| match &value.kind {
        ValueKind::Table(table) => table.get(part),
        _ => None,
    })
}

fn replace(tree: &mut Value, key: &str, value: Option<Value>) {
    let ValueKind::Table(table) = &mut tree.kind else { return };
    match (key.split_once('.'), value) {
        (Some((first, rest)), value) => {
            if let Some(inner) = table.get_mut(first) {
                replace(inner, rest, value);
            }
        }
        (None, Some(value)) => drop(table.insert(key.to_owned(), value)),
        (None, None) => drop(table.remove(key)),
    }
}
