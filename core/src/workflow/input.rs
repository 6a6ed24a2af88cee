//! How a task of a workflow gets its input.

use serde_json::Value;

use super::content;
use crate::{
    command::Command,
    create::NewTask,
    limits::{ARG_BYTES_MAX, ARGS_MAX, ENVIRONMENT_MAX, PAYLOAD_BYTES_MAX},
    task::Content,
    violation::shown,
};

/// The variable in which a command finds what came before it.
pub const INPUT_VARIABLE: &str = "ASYNCFLOW_INPUT";

/// The task with what came before it. A task that has a payload of its own keeps it; one without
/// gets what came before as its payload, byte by byte; a command finds it in [`INPUT_VARIABLE`],
/// where it is text and fits.
///
/// # Errors
/// What is wrong, for people.
pub fn with_previous(mut task: NewTask, previous: Content) -> Result<NewTask, String> {
    if let Some(mut command) = Command::from_content(&task.payload) {
        let text = String::from_utf8(previous.data.into()).ok();
        let text = text.filter(|text| text.len() <= ARG_BYTES_MAX && !text.contains('\0'));
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            command.environment.entry(INPUT_VARIABLE.into()).or_insert(text);
            task.payload = fitting(command.to_content())?;
        }
    } else if task.payload == Content::default() {
        task.payload = fitting(previous)?;
    }
    Ok(task)
}

/// The task with the value of its input's expression: as its payload or, for a command, with the
/// arguments in its field `args`, and the variables in its field `environment` besides its own.
///
/// # Errors
/// What is wrong, for people.
pub fn with_value(mut task: NewTask, value: &Value) -> Result<NewTask, String> {
    let Some(mut command) = Command::from_content(&task.payload) else {
        task.payload = fitting(content::of_json(value))?;
        return Ok(task);
    };
    let Value::Object(fields) = value else {
        return Err("the input of a command is a map of `args` and `environment`".into());
    };
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("args", Value::Array(args)) => {
                command.args = args.iter().map(text).collect::<Result<_, _>>()?;
            }
            ("environment", Value::Object(variables)) => {
                for (name, value) in variables {
                    if name.is_empty() || name.contains(['=', '\0']) {
                        return Err(format!("{} is no name of a variable", shown(name)));
                    }
                    command.environment.insert(name.clone(), text(value)?);
                }
            }
            ("args", _) => return Err("`args` is not a list".into()),
            ("environment", _) => return Err("`environment` is not a map".into()),
            _ => return Err(format!("the input of a command has no field {}", shown(name))),
        }
    }
    let most = [
        (command.args.len(), ARGS_MAX, "arguments"),
        (command.environment.len(), ENVIRONMENT_MAX, "variables"),
    ];
    if let Some((count, most, what)) = most.into_iter().find(|(count, most, _)| count > most) {
        return Err(format!("{count} {what} are too many; at most {most}"));
    }
    task.payload = fitting(command.to_content())?;
    Ok(task)
}

fn fitting(payload: Content) -> Result<Content, String> {
    let bytes = payload.data.len();
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(format!(
            "its input of {bytes} bytes is too large; at most {PAYLOAD_BYTES_MAX}: make it smaller \
             with an expression"
        ));
    }
    Ok(payload)
}

/// Texts as they are, numbers and conditions as JSON has them.
fn text(value: &Value) -> Result<String, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null => return Err("an argument is null, which is neither text nor a number".into()),
        Value::Array(_) | Value::Object(_) => {
            return Err("an argument is a list or map, and neither text nor a number".into());
        }
    };
    if text.len() > ARG_BYTES_MAX || text.contains('\0') {
        return Err(format!("an argument of {} bytes is too large, or has a NUL", text.len()));
    }
    Ok(text)
}
