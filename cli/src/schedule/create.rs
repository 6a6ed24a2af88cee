//! `schedule create`

use super::{file::ScheduleFile, origin::Origin, times::TimesArgs};
use crate::{
    connection::Broker,
    error::{CliError, Outcome, exit},
    output::Output,
    source_file::SourceFile,
    task::spec::{CommandArgs, ContentArgs, SpecArgs},
    view::schedule::ScheduleView,
    workflow::file::WorkflowFile,
};
use asyncflow_proto::v1::{CreateScheduleRequest, ScheduleSpec, schedule_spec::Action};
use std::path::PathBuf;

/// Create a schedule, from flags for a task or from a file for all there is
///
/// With words after `--` it executes them; without, a handler of its type works on the payload.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file that describes it, in YAML or JSON; `-` is standard input
    #[arg(long, short = 'f', value_name = "FILE",
          conflicts_with_all = ["task_type", "cron", "time_zone", "with_seconds", "every", "at",
              "words", "workflow", "name", "user", "priority", "labels", "max_retries",
              "retry_interval", "max_retry_interval", "max_time", "success_if", "signals", "start",
              "end", "jitter", "overlap", "catch_up", "payload", "payload_file", "context",
              "context_file", "cwd", "environment", "python_env", "container", "volumes", "no_code",
              "gpus", "gpu_memory", "cpus", "memory", "gpu_model", "min_gpu_memory", "on_host",
              "worker_labels", "preemptible", "stop_on_trespass", "gpu_idle_timeout"])]
    file: Option<PathBuf>,
    /// Instead of a task, the workflow of this file, as for `workflow create`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["task_type", "words", "payload"])]
    workflow: Option<PathBuf>,
    /// Its input: JSON, or else a text; instead of that of the file
    #[arg(long, value_name = "VALUE", requires = "workflow")]
    input: Option<String>,
    /// The task type; `command` when a command is given
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    task_type: Option<String>,
    /// Only check it
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    times: TimesArgs,
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    command: CommandArgs,
    #[command(flatten)]
    content: ContentArgs,
    /// The program and its arguments
    #[arg(last = true, value_name = "CMD")]
    words: Vec<String>,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let validate_only = args.validate_only;
    let request_id = args.spec.request("").request_id;
    let origin = Origin::of(args.file.as_deref(), args.workflow.as_deref())?;
    let schedule = match &origin {
        Origin::File(source) => {
            ScheduleFile::of(source)?.spec().map_err(|error| source.blame(error))?
        }
        Origin::Workflow(source) => of_workflow(source, args)?,
        Origin::Flags => from_flags(args)?,
    };
    let request = CreateScheduleRequest { schedule: Some(schedule), request_id, validate_only };
    let created = broker.client.create_schedule_with(request).await;
    let created = created.map_err(|error| origin.refused(broker, error))?;
    if validate_only {
        crate::remark("it is a schedule that can be created");
        return Ok(exit::OK);
    }
    if created.deduplicated {
        crate::remark("this request id had already created the schedule");
    }
    let none = || CliError::Failed("the broker's answer holds no schedule".to_owned());
    output.one(&ScheduleView::from(created.schedule.ok_or_else(none)?))?;
    Ok(exit::OK)
}

/// A schedule of a workflow; its name and labels are those of the flags, or else the workflow's.
fn of_workflow(source: &SourceFile, args: Args) -> Result<ScheduleSpec, CliError> {
    let mut workflow = WorkflowFile::of(source)?;
    if let Some(input) = &args.input {
        workflow.give(input);
    }
    let workflow = workflow.spec().map_err(|error| source.blame(error))?;
    let said = args.spec.request("").task.unwrap_or_default();
    let or = |said: String, own: &String| if said.is_empty() { own.clone() } else { said };
    Ok(ScheduleSpec {
        name: or(said.name, &workflow.name),
        user: or(said.user, &workflow.user),
        labels: if said.labels.is_empty() { workflow.labels.clone() } else { said.labels },
        action: Some(Action::Workflow(workflow)),
        ..args.times.required()?
    })
}

/// A schedule of a task that has its name and labels.
fn from_flags(args: Args) -> Result<ScheduleSpec, CliError> {
    let default_type = (!args.words.is_empty()).then(|| crate::run::DEFAULT_TYPE.to_owned());
    let task_type = args.task_type.or(default_type).ok_or_else(|| {
        CliError::Usage("--type is missing (or give a command after --, or a file)".to_owned())
    })?;
    let mut task = args.spec.request(&task_type).task.unwrap_or_default();
    task.payload = args.content.payload()?;
    task.context = args.content.context()?;
    if !args.words.is_empty() {
        task.command = Some(args.command.command(&args.words)?);
    } else if !args.command.is_empty() {
        return Err(CliError::Usage("--cwd and --env need a command after --".to_owned()));
    }
    Ok(ScheduleSpec {
        name: task.name.clone(),
        user: task.user.clone(),
        labels: task.labels.clone(),
        action: Some(Action::Task(task)),
        ..args.times.required()?
    })
}
