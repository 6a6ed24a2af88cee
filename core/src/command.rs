//! A program to execute instead of a handler. It is stored as the payload of its task, under a
//! media type that no client may use itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::task::Content;

/// The media type of a payload that is a [`Command`].
pub const COMMAND_CONTENT_TYPE: &str = "application/vnd.asyncflow.command+json";

/// What to execute. There is no shell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// A path, or a name to be found on the worker's PATH.
    pub program: String,
    pub args: Vec<String>,
    /// Absolute, or empty for a fresh directory of the attempt.
    pub working_directory: String,
    pub environment: BTreeMap<String, String>,
    /// The absolute path of a conda or virtual environment, or the name of a conda environment;
    /// empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub python_environment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<CodeSnapshot>,
}

impl Content {
    /// Whether it holds a [`Command`], by its media type.
    pub fn is_command(&self) -> bool {
        self.content_type == COMMAND_CONTENT_TYPE
    }
}

/// The container that a program is executed in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub image: String,
    /// `HOST_PATH:CONTAINER_PATH[:ro]`.
    pub volumes: Vec<String>,
}

/// Which code a task was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeSnapshot {
    /// The root of the git repository.
    pub directory: String,
    pub commit: String,
    /// What differed from it; may be cut.
    pub diff: String,
    /// Of the whole diff; empty when nothing differed.
    pub diff_sha256: String,
}

impl Command {
    /// The payload that holds it. Equal commands give equal bytes.
    pub fn to_content(&self) -> Content {
        // Strings, lists and maps with text keys always encode; an empty payload would be refused
        // by `from_content` and so could not run anything by mistake.
        let data = serde_json::to_vec(self).map(Bytes::from).unwrap_or_default();
        Content { data, content_type: COMMAND_CONTENT_TYPE.into() }
    }

    /// The command in this payload; `None` if the payload is not a command.
    pub fn from_content(content: &Content) -> Option<Self> {
        if content.content_type != COMMAND_CONTENT_TYPE {
            return None;
        }
        serde_json::from_slice(&content.data).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn survives_being_stored() {
        let command = Command {
            program: "/bin/echo".into(),
            args: vec!["a b".into(), "\"quoted\" ünïcode".into()],
            working_directory: "/tmp".into(),
            environment: BTreeMap::from([("LANG".into(), "C".into())]),
            python_environment: "/opt/venv".into(),
            container: Some(Container { image: "cuda".into(), volumes: vec!["/a:/b".into()] }),
            code: Some(CodeSnapshot { commit: "0".repeat(40), ..CodeSnapshot::default() }),
        };
        assert_eq!(Command::from_content(&command.to_content()).unwrap(), command);
        let other = Content { data: command.to_content().data, content_type: "text/plain".into() };
        assert_eq!(Command::from_content(&other), None);
        // As it was written before there was more.
        let plain = Command { program: "a".into(), ..Command::default() };
        let text = r#"{"program":"a","args":[],"working_directory":"","environment":{}}"#;
        assert_eq!(plain.to_content().data, text);
        let stored = Content { data: text.into(), ..command.to_content() };
        assert_eq!(Command::from_content(&stored).unwrap(), plain);
    }
}
