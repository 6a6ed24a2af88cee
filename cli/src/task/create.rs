//! `task create`

use super::spec::{CommandArgs, ContentArgs, SpecArgs, StartArgs};
use crate::{
    error::{CliError, Outcome, exit},
    session::Session,
    view::task::TaskView,
};

/// Create a task and print it
///
/// With words after `--` it executes them; without, a handler of its type works on the payload.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The task type; `command` when a command is given
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    task_type: Option<String>,
    /// Only check the request; print the task that would be made
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    command: CommandArgs,
    #[command(flatten)]
    content: ContentArgs,
    /// The program and its arguments
    #[arg(last = true, value_name = "CMD")]
    words: Vec<String>,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let default_type = (!args.words.is_empty()).then(|| crate::run::DEFAULT_TYPE.to_owned());
    let task_type = args.task_type.or(default_type).ok_or_else(|| {
        CliError::Usage("--type is missing (or give a command after --)".to_owned())
    })?;
    let mut request = args.spec.request(&task_type);
    request.validate_only = args.validate_only;
    if let Some(spec) = &mut request.task {
        args.start.add_to(spec);
        for predecessor in &mut spec.after {
            predecessor.task_id = session.resolve(&predecessor.task_id).await?;
        }
        spec.payload = args.content.payload()?;
        spec.context = args.content.context()?;
        if !args.words.is_empty() {
            spec.command = Some(args.command.recorded(&args.words).await?);
        } else if !args.command.is_empty() {
            return Err(CliError::Usage(
                "--cwd, --env, --python-env and --container need a command after --".to_owned(),
            ));
        }
    }
    let created = session.broker.create(request).await?;
    if created.deduplicated {
        crate::remark("this request id had already created the task");
    }
    let task = created
        .task
        .ok_or_else(|| CliError::Failed("the broker's answer holds no task".to_owned()))?;
    session.output.one(&TaskView::from(task))?;
    Ok(exit::OK)
}
