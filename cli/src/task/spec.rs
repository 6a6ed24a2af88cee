//! The flags from which `run` and `task create` make a task.

use super::code;
use super::resources::ResourceArgs;
use crate::{error::CliError, time};
use asyncflow_proto::v1::{
    Command, Container, Content, CreateTaskRequest, OptionalRetryPolicy, Predecessor, TaskSpec,
};
use prost_types::{Duration, Timestamp};
use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

/// `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub key: String,
    pub value: String,
}

impl Pair {
    /// Splits at the first `=`; the value may be empty, the key may not.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err("write it as KEY=VALUE".to_owned()),
        }
    }
}

/// The last of two equal keys wins.
pub fn map_of(pairs: &[Pair]) -> BTreeMap<String, String> {
    pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
}

/// What a task is asked to be, apart from its type and what it runs.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Task")]
pub struct SpecArgs {
    /// What people call it
    #[arg(long, short = 'n')]
    name: Option<String>,
    /// Who owns it; only administrators may name another than themselves
    #[arg(long)]
    user: Option<String>,
    /// Seniority in seconds, −1000 to 1000; a higher one is taken earlier
    #[arg(long, short = 'p', allow_negative_numbers = true)]
    priority: Option<i32>,
    /// A label; may be repeated
    #[arg(long = "label", short = 'l', value_name = "KEY=VALUE", value_parser = Pair::parse)]
    labels: Vec<Pair>,
    /// Retries after the first failure, 0 to 1000
    #[arg(long, value_name = "N")]
    max_retries: Option<i32>,
    /// Wait before the first retry; it doubles with each
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    retry_interval: Option<Duration>,
    /// The wait never grows beyond this
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    max_retry_interval: Option<Duration>,
    /// Stop an attempt that runs longer than this
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    max_time: Option<Duration>,
    /// Do not start before this signal has come (`task signal`); may be repeated
    #[arg(long = "await", value_name = "SIGNAL")]
    signals: Vec<String>,
    /// What must be true of its result, in CEL, e.g. `result.loss < 0.5`
    #[arg(long, value_name = "EXPRESSION")]
    success_if: Option<String>,
    #[command(flatten)]
    resources: ResourceArgs,
    /// The same id gives the same one, so a script may repeat itself safely
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

/// When a task may start; one that a schedule makes starts by its times.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Task")]
pub struct StartArgs {
    /// Do not start before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time::parse_time)]
    not_before: Option<Timestamp>,
    /// Do not start before this span is over. Not with --request-id, as it means another time at
    /// each repetition: use --not-before
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span,
          conflicts_with_all = ["not_before", "request_id"])]
    delay: Option<Duration>,
    /// Do not start before this task has succeeded; may be repeated
    #[arg(long, value_name = "TASK")]
    after: Vec<String>,
    /// Do not start before this task has ended, however; may be repeated
    #[arg(long, value_name = "TASK")]
    after_any: Vec<String>,
}

/// Flags about the process of a command task.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Command")]
pub struct CommandArgs {
    /// Directory to run in, on the worker's host; default: a fresh one for every attempt
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// A variable for its environment; may be repeated
    #[arg(long = "env", short = 'e', value_name = "KEY=VALUE", value_parser = Pair::parse)]
    environment: Vec<Pair>,
    /// A virtual or conda environment: its directory on the worker's host, or the name of a conda
    /// environment of the worker's user
    #[arg(long, value_name = "PATH|NAME", conflicts_with = "container")]
    python_env: Option<String>,
    /// Run it in a container of this image, by docker or podman on the worker's host
    #[arg(long, value_name = "IMAGE")]
    container: Option<String>,
    /// A directory of the host that the container sees, `HOST:CONTAINER[:ro]`; may be repeated
    #[arg(long = "volume", value_name = "HOST:CONTAINER", requires = "container")]
    volumes: Vec<String>,
    /// Do not record which commit and which changes the code in --cwd is at
    #[arg(long)]
    no_code: bool,
}

/// Flags about the contents that a task begins with.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Content")]
pub struct ContentArgs {
    /// What the handler gets to work on
    #[arg(long, value_name = "TEXT", conflicts_with = "payload_file")]
    payload: Option<String>,
    /// The same from a file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,
    /// The context to start from
    #[arg(long, value_name = "TEXT", conflicts_with = "context_file")]
    context: Option<String>,
    /// The same from a file
    #[arg(long, value_name = "FILE")]
    context_file: Option<PathBuf>,
    /// Media type of the payload; default: application/json if it is JSON
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
}

/// What another host goes on from.
#[derive(Debug, Clone, clap::Args)]
pub struct HandOverArgs {
    /// Go on from this context instead of what was saved last
    #[arg(long, value_name = "TEXT", conflicts_with = "context_file")]
    context: Option<String>,
    /// The same from a file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    context_file: Option<PathBuf>,
    /// Its media type; without it the context has to be JSON, so that a typing error is found here
    /// and not by the next attempt
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
}

impl HandOverArgs {
    /// # Errors
    /// The file cannot be read; the context is neither JSON nor said to be something else.
    pub fn content(&self) -> Result<Option<Content>, CliError> {
        let (text, file) = (self.context.as_deref(), self.context_file.as_deref());
        let content = content(text, file, self.content_type.as_deref())?;
        if let (Some(content), None) = (&content, &self.content_type) {
            let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(&content.data);
            parsed.map_err(|error| {
                CliError::Usage(format!(
                    "the context is not JSON: {error}; if it is meant to be something else, say so \
                     by --content-type, e.g. text/plain"
                ))
            })?;
        }
        Ok(content)
    }
}

/// What a signal carries.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArgs {
    /// What the task finds with it
    #[arg(long, value_name = "TEXT")]
    data: Option<String>,
}

impl DataArgs {
    pub fn content(&self) -> Option<Content> {
        let data = self.data.as_ref()?.clone().into_bytes();
        let content_type = guess(&data).to_owned();
        Some(Content { data: data.into(), content_type })
    }
}

impl SpecArgs {
    /// The request for a task of this type.
    pub fn request(&self, task_type: &str) -> CreateTaskRequest {
        let retry = OptionalRetryPolicy {
            max_retries: self.max_retries,
            interval: self.retry_interval,
            max_interval: self.max_retry_interval,
        };
        let spec = TaskSpec {
            task_type: task_type.to_owned(),
            name: self.name.clone().unwrap_or_default(),
            user: self.user.clone().unwrap_or_default(),
            priority: self.priority,
            labels: map_of(&self.labels),
            retry: (retry != OptionalRetryPolicy::default()).then_some(retry),
            max_running_time: self.max_time,
            signals: self.signals.clone(),
            success_if: self.success_if.clone().unwrap_or_default(),
            resources: self.resources.resources(),
            ..TaskSpec::default()
        };
        CreateTaskRequest {
            task: Some(spec),
            request_id: self.request_id.clone().unwrap_or_default(),
            validate_only: false,
        }
    }
}

impl StartArgs {
    /// Adds it to a task; the ids of others are left as they were typed.
    pub fn add_to(&self, task: &mut TaskSpec) {
        let strict = self.after.iter().map(|id| (id, false));
        let all = strict.chain(self.after_any.iter().map(|id| (id, true)));
        let predecessor =
            |(id, any_end): (&String, bool)| Predecessor { task_id: id.clone(), any_end };
        task.after = all.map(predecessor).collect();
        task.not_before = self.not_before.or_else(|| self.delay.as_ref().map(time::from_now));
    }
}

impl CommandArgs {
    /// The command of these words; the first is the program.
    pub fn command(&self, words: &[String]) -> Result<Command, CliError> {
        let Some((program, args)) = words.split_first() else {
            return Err(CliError::Usage("the command is missing".to_owned()));
        };
        let volumes = self.volumes.clone();
        Ok(Command {
            program: program.clone(),
            args: args.to_vec(),
            working_directory: self.working_directory()?,
            environment: map_of(&self.environment),
            python_environment: self.python_env.clone().unwrap_or_default(),
            container: self.container.clone().map(|image| Container { image, volumes }),
            code: None,
        })
    }

    /// The same, with what git says of the code in its directory.
    pub async fn recorded(&self, words: &[String]) -> Result<Command, CliError> {
        let mut command = self.command(words)?;
        if !self.no_code && !command.working_directory.is_empty() {
            command.code = code::of(Path::new(&command.working_directory)).await;
            code::fit(&mut command);
        }
        Ok(command)
    }

    pub fn is_empty(&self) -> bool {
        let Self { cwd, environment, python_env, container, volumes: _, no_code: _ } = self;
        cwd.is_none() && environment.is_empty() && python_env.is_none() && container.is_none()
    }

    /// Relative directories are meant from here, but the worker knows absolute ones only.
    fn working_directory(&self) -> Result<String, CliError> {
        let Some(cwd) = &self.cwd else { return Ok(String::new()) };
        let absolute = std::fs::canonicalize(cwd)
            .or_else(|_| std::path::absolute(cwd))
            .map_err(|error| CliError::Usage(format!("--cwd {}: {error}", cwd.display())))?;
        absolute.into_os_string().into_string().map_err(|path| {
            CliError::Usage(format!("--cwd {}: it is not UTF-8", Path::new(&path).display()))
        })
    }
}

impl ContentArgs {
    pub fn payload(&self) -> Result<Option<Content>, CliError> {
        content(self.payload.as_deref(), self.payload_file.as_deref(), self.content_type.as_deref())
    }

    pub fn context(&self) -> Result<Option<Content>, CliError> {
        content(self.context.as_deref(), self.context_file.as_deref(), None)
    }
}

fn content(
    text: Option<&str>,
    file: Option<&Path>,
    content_type: Option<&str>,
) -> Result<Option<Content>, CliError> {
    let data = match (text, file) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(file)) => read(file)?,
        (None, None) => return Ok(None),
    };
    let content_type = content_type.unwrap_or_else(|| guess(&data)).to_owned();
    Ok(Some(Content { data: data.into(), content_type }))
}

fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    if file == Path::new("-") {
        let mut data = Vec::new();
        std::io::stdin()
            .read_to_end(&mut data)
            .map_err(|error| CliError::Usage(format!("cannot read standard input: {error}")))?;
        return Ok(data);
    }
    std::fs::read(file).map_err(|error| CliError::file(file, &error))
}

fn guess(data: &[u8]) -> &'static str {
    match std::str::from_utf8(data) {
        Ok(_) if serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok() => {
            "application/json"
        }
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn pairs_split_at_the_first_equals_sign() {
        let pair = Pair::parse("A=b=c").unwrap();
        assert_eq!((pair.key.as_str(), pair.value.as_str()), ("A", "b=c"));
        assert_eq!(Pair::parse("A=").unwrap().value, "");
        assert!(Pair::parse("=x").is_err());
        assert!(Pair::parse("x").is_err());
    }

    #[test]
    fn contents_get_their_media_type() {
        assert_eq!(guess(b"{\"a\": 1}"), "application/json");
        assert_eq!(guess(b"hello"), "text/plain; charset=utf-8");
        assert_eq!(guess(&[0xff]), "application/octet-stream");
        assert!(content(None, None, None).unwrap().is_none());
        let missing = content(None, Some(Path::new("/nonexistent/x")), None).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/x"));
    }

    #[test]
    fn the_directory_becomes_absolute() {
        let args = CommandArgs {
            cwd: Some(PathBuf::from(".")),
            environment: Vec::new(),
            python_env: None,
            container: None,
            volumes: Vec::new(),
            no_code: true,
        };
        let command = args.command(&["true".to_owned()]).unwrap();
        assert!(command.working_directory.starts_with('/'));
        assert!(args.command(&[]).is_err());
    }
}
