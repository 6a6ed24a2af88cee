//! Commands: what the kernel would refuse is refused here, and what would not fit into a row.

use super::{at::At, number, text};
use crate::{
    command::{CodeSnapshot, Command, Container},
    limits::{
        ARG_BYTES_MAX, ARGS_MAX, DIFF_BYTES_MAX, ENVIRONMENT_MAX, ENVIRONMENT_NAME_BYTES_MAX,
        IMAGE_BYTES_MAX, PATH_BYTES_MAX, PAYLOAD_BYTES_MAX, PYTHON_NAME_BYTES_MAX, VOLUMES_MAX,
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
    python_environment(command, at.field("python_environment"), violations);
    if let Some(container) = &command.container {
        self::container(container, at.field("container"), violations);
    }
    if let Some(code) = &command.code {
        self::code(code, at.field("code"), violations);
    }

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

fn python_environment(command: &Command, at: At<'_>, violations: &mut Violations) {
    let given = command.python_environment.as_str();
    if given.is_empty() {
        return;
    }
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let is_name = given.len() <= PYTHON_NAME_BYTES_MAX
        && given.bytes().all(is_plain)
        && !given.starts_with(['.', '-']);
    if !given.starts_with('/') && !is_name {
        let what = format!(
            "{} is neither an absolute path nor the name of a conda environment; 1 to \
             {PYTHON_NAME_BYTES_MAX} characters of A-Z a-z 0-9 . _ -",
            shown(given)
        );
        violations.add(at, what);
    }
    // It becomes a part of PATH.
    if given.contains(':') {
        violations.add(at, "must not have a colon");
    }
    text::without_nul(given, PATH_BYTES_MAX, at, violations);
    if command.container.is_some() {
        violations.add(at, "must not be given together with container, whose image has its own");
    }
}

fn container(container: &Container, at: At<'_>, violations: &mut Violations) {
    let image = at.field("image");
    text::required_line(&container.image, IMAGE_BYTES_MAX, image, violations);
    // The engine would take it for one of its options.
    if container.image.starts_with('-') || container.image.contains(' ') {
        violations.add(image, format!("{} is not an image's name", shown(&container.image)));
    }
    let volumes = at.field("volumes");
    number::item_count(container.volumes.len(), 0..=VOLUMES_MAX, volumes, violations);
    for (index, volume) in container.volumes.iter().enumerate().take(VOLUMES_MAX) {
        let item = volumes.item(index);
        text::without_nul(volume, 2 * PATH_BYTES_MAX, item, violations);
        let parts: Vec<&str> = volume.split(':').collect();
        let fits = match parts.as_slice() {
            [host, inside] | [host, inside, "ro" | "rw"] => {
                host.starts_with('/') && inside.starts_with('/')
            }
            _ => false,
        };
        if !fits {
            let what = format!(
                "{} is not HOST_PATH:CONTAINER_PATH or HOST_PATH:CONTAINER_PATH:ro with absolute \
                 paths",
                shown(volume)
            );
            violations.add(item, what);
        }
    }
}

fn code(code: &CodeSnapshot, at: At<'_>, violations: &mut Violations) {
    let directory = at.field("directory");
    if !code.directory.starts_with('/') {
        violations.add(directory, format!("{} is not absolute", shown(&code.directory)));
    }
    text::without_nul(&code.directory, PATH_BYTES_MAX, directory, violations);
    let is_hex =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if ![40, 64].contains(&code.commit.len()) || !is_hex(&code.commit) {
        let what = format!("{} is not a commit; 40 or 64 digits 0-9 a-f", shown(&code.commit));
        violations.add(at.field("commit"), what);
    }
    if code.diff.len() > DIFF_BYTES_MAX {
        let what = format!("has {} bytes; at most {DIFF_BYTES_MAX}", code.diff.len());
        violations.add(at.field("diff"), what);
    }
    if ![0, 64].contains(&code.diff_sha256.len()) || !is_hex(&code.diff_sha256) {
        let what = format!("{} is not a SHA-256; 64 digits 0-9 a-f", shown(&code.diff_sha256));
        violations.add(at.field("diff_sha256"), what);
    }
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
