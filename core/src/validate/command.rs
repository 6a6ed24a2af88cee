//! Commands: what the kernel would refuse is refused here, and what would not fit into a row.

use super::{at::At, number, text};
use crate::{
    command::Command,
    limits::{
        ARG_BYTES_MAX, ARGS_MAX, ENVIRONMENT_MAX, ENVIRONMENT_NAME_BYTES_MAX, PATH_BYTES_MAX,
        PAYLOAD_BYTES_MAX,
    },
    task::Content,
    violation::{Violations, shown},
};

/// Checks a command and gives the payload that holds it.
pub fn command(command: &Command, at: At<'_>, violations: &mut Violations) -> Content {
    let program = at.field("program");
    if command.program.is_empty() {
        violations.add(program, "must not be empty: a path or the name of a program");
    }
    text::without_nul(&command.program, PATH_BYTES_MAX, program, violations);

    let args = at.field("args");
    number::item_count(command.args.len(), 0..=ARGS_MAX, args, violations);
    for (index, arg) in command.args.iter().enumerate().take(ARGS_MAX) {
        text::without_nul(arg, ARG_BYTES_MAX, args.item(index), violations);
    }

    let directory = at.field("working_directory");
    if !command.working_directory.is_empty() && !command.working_directory.starts_with('/') {
        let what = format!("{} is not absolute", shown(&command.working_directory));
        violations.add(directory, what);
    }
    text::without_nul(&command.working_directory, PATH_BYTES_MAX, directory, violations);
    environment(command, at.field("environment"), violations);

    let content = command.to_content();
    if content.data.len() > PAYLOAD_BYTES_MAX {
        let what = format!(
            "the command takes {} bytes; at most {PAYLOAD_BYTES_MAX} bytes in all",
            content.data.len()
        );
        violations.add(at, what);
    }
    content
}

fn environment(command: &Command, at: At<'_>, violations: &mut Violations) {
    number::item_count(command.environment.len(), 0..=ENVIRONMENT_MAX, at, violations);
    let variables = command.environment.iter().enumerate().take(ENVIRONMENT_MAX);
    for (index, (name, value)) in variables {
        let item = at.item(index);
        if name.is_empty() || name.len() > ENVIRONMENT_NAME_BYTES_MAX || name.contains(['=', '\0'])
        {
            let what = format!(
                "{} is not a variable's name; 1 to {ENVIRONMENT_NAME_BYTES_MAX} bytes without = \
                 and NUL",
                shown(name)
            );
            violations.add(item.field("key"), what);
        }
        text::without_nul(value, ARG_BYTES_MAX, item.field("value"), violations);
    }
}
