//! The program that a task executes.

use super::pairs;
use asyncflow_proto::v1::{self, Command};
use serde::Serialize;
use std::collections::BTreeMap;

/// See the protocol's `Command`.
#[derive(Debug, Serialize)]
pub struct CommandView {
    program: String,
    args: Vec<String>,
    working_directory: String,
    environment: BTreeMap<String, String>,
    python_environment: String,
    container: Option<ContainerView>,
    code: Option<CodeView>,
}

/// See the protocol's `Container`.
#[derive(Debug, Serialize)]
struct ContainerView {
    image: String,
    volumes: Vec<String>,
}

/// See the protocol's `CodeSnapshot`.
#[derive(Debug, Serialize)]
struct CodeView {
    directory: String,
    commit: String,
    diff: String,
    diff_sha256: String,
}

impl CodeView {
    fn for_people(&self) -> String {
        let commit = self.commit.get(..12).unwrap_or(&self.commit);
        let changed = if self.diff_sha256.is_empty() { "" } else { ", with changes" };
        format!("{} at {commit}{changed}", self.directory)
    }
}

impl From<Command> for CommandView {
    fn from(command: Command) -> Self {
        Self {
            program: command.program,
            args: command.args,
            working_directory: command.working_directory,
            environment: command.environment,
            python_environment: command.python_environment,
            container: command
                .container
                .map(|v1::Container { image, volumes }| ContainerView { image, volumes }),
            code: command.code.map(|code| CodeView {
                directory: code.directory,
                commit: code.commit,
                diff: code.diff,
                diff_sha256: code.diff_sha256,
            }),
        }
    }
}

impl CommandView {
    /// As one would type it into a shell.
    pub fn for_people(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    /// What is worth a line each.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let image = self.container.as_ref().map(|container| container.image.clone());
        let volumes = self.container.as_ref().map(|container| container.volumes.join(" "));
        vec![
            ("command", self.for_people()),
            ("directory", self.working_directory.clone()),
            ("environment", pairs(&self.environment)),
            ("python", self.python_environment.clone()),
            ("container", image.unwrap_or_default()),
            ("volumes", volumes.unwrap_or_default()),
            ("code", self.code.as_ref().map(CodeView::for_people).unwrap_or_default()),
        ]
    }
}

/// As one would type it into a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_they_would_be_typed() {
        let command = Command {
            program: "sh".into(),
            args: vec!["-c".into(), "echo 'x y'".into(), String::new()],
            ..Command::default()
        };
        assert_eq!(CommandView::from(command).for_people(), r"sh -c 'echo '\''x y'\''' ''");
    }
}
