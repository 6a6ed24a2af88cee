//! Asking modules which tasks they have.

use std::{collections::BTreeMap, fs, io, path::Path, process::Stdio, time::Duration};

use asyncflow_sdk::v1::{Command, TaskType};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use tokio::process;

use super::{
    defaults::{Defaults, differences},
    interpreter::Interpreter,
};
/// What is kept of the last answer.
const FILE: &str = "python.json";
/// Leases of attempts that a former process left run out while modules are imported.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// What is shown of the words of a Python that fails.
const WORDS_BYTES_MAX: usize = 4 * 1024;

/// A task of a module: a line of `python -m asyncflow.task list`.
#[derive(Clone, Debug, Deserialize)]
pub struct Listed {
    /// Its type.
    #[serde(rename = "type")]
    pub task_type: String,
    /// Where it is, for people.
    #[serde(default)]
    pub function: String,
    /// It may run in a process that others have used.
    #[serde(default)]
    pub warm: bool,
    /// What it says of its type.
    #[serde(rename = "task_type", default)]
    pub defaults: Defaults,
}

impl Listed {
    /// A new type for it.
    pub fn new_type(&self) -> TaskType {
        self.defaults.task_type(&self.task_type)
    }

    /// Where the type that is there is not as the module says, for people.
    pub fn differences(&self, there: &TaskType) -> Vec<String> {
        differences(&self.defaults, there)
    }
}

/// Why it is not known which tasks there are; for people.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// There is no such program.
    #[error("Python cannot be started: {program}: {source} (python.executable says which it is)")]
    NotStarted {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The environment is broken.
    #[error("{0}")]
    Environment(String),
    /// The SDK is missing.
    #[error(
        "{program} has no asyncflow: install the SDK there by `{program} -m pip install` with the \
         folder sdk/python or a wheel of `make wheel`, or name another Python by \
         python.executable"
    )]
    NoSdk {
        /// The Python.
        program: String,
    },
    /// It imports for too long.
    #[error(
        "the modules of python.modules were not imported within {} s (python.import_time_max_ms)",
        .0.as_secs_f64()
    )]
    TooSlow(Duration),
    /// It has failed; what it said last.
    #[error("the Python tasks cannot be listed ({status}):\n{words}")]
    Failed {
        /// How it ended.
        status: String,
        /// Its standard error.
        words: String,
    },
    /// What it printed is not understood.
    #[error("this version of asyncflow in Python is not understood: {0}")]
    Answer(String),
}

#[derive(Serialize, Deserialize)]
struct Kept {
    /// By which command.
    command: Vec<String>,
    answer: String,
}

/// The tasks of the interpreter's modules, by an answer of at most `limit`. When attempts wait to
/// be gone on with it is waited for less long, and the last answer, which is kept in `root`, will
/// do: their leases must not be lost for a module that is slow, or broken by now.
///
/// # Errors
/// [`ListError`].
pub async fn tasks(
    interpreter: &Interpreter,
    allowed: &[String],
    limit: Duration,
    root: &Path,
    are_waiting: bool,
) -> Result<Vec<Listed>, ListError> {
    let command = interpreter.command("list");
    let words: Vec<String> = [&command.program].into_iter().chain(&command.args).cloned().collect();
    let kept = fs::read(root.join(FILE)).ok();
    let kept = kept.and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
    let kept = kept.filter(|kept| are_waiting && kept.command == words);
    let limit = if kept.is_some() { limit.min(WAIT_MAX) } else { limit };
    let variables = interpreter.variables(allowed).map_err(ListError::Environment)?;
    match (ask(&command, variables, limit).await, kept) {
        (Ok(answer), _) => {
            let tasks = parse(&answer)?;
            let kept = serde_json::to_vec(&Kept { command: words, answer });
            let written =
                kept.map_err(io::Error::other).and_then(|text| crate::shim::put(root, FILE, &text));
            if let Err(error) = written {
                tracing::warn!(%error, "the list of Python tasks is not kept for the next start");
            }
            Ok(tasks)
        }
        (Err(error), Some(kept)) => {
            tracing::error!(%error, "going on with the Python tasks of the last start");
            parse(&kept.answer)
        }
        (Err(error), None) => Err(error),
    }
}

async fn ask(
    command: &Command,
    variables: BTreeMap<String, String>,
    limit: Duration,
) -> Result<String, ListError> {
    let program = command.program.clone();
    let child = process::Command::new(&program)
        .args(&command.args)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| ListError::NotStarted { program: program.clone(), source })?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let Ok(ended) = tokio::time::timeout(limit, child.wait_with_output()).await else {
        // With what it has started.
        let _ = group.map(|group| killpg(group, Signal::SIGKILL));
        return Err(ListError::TooSlow(limit));
    };
    let output = ended.map_err(|source| ListError::NotStarted { program, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let start = output.stderr.len().saturating_sub(WORDS_BYTES_MAX);
    let words = String::from_utf8_lossy(output.stderr.get(start..).unwrap_or_default());
    if words.contains("No module named 'asyncflow'") || words.contains("No module named asyncflow")
    {
        return Err(ListError::NoSdk { program: command.program.clone() });
    }
    let words = words.trim_end().to_owned();
    Err(ListError::Failed { status: output.status.to_string(), words })
}

fn parse(answer: &str) -> Result<Vec<Listed>, ListError> {
    let lines = answer.lines().filter(|line| !line.trim().is_empty());
    let tasks: Result<Vec<Listed>, _> = lines.map(serde_json::from_str).collect();
    let tasks = tasks.map_err(|error| ListError::Answer(error.to_string()))?;
    match tasks.is_empty() {
        true => Err(ListError::Answer("it lists no task".to_owned())),
        false => Ok(tasks),
    }
}
