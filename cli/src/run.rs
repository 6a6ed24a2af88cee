//! `asyncflow run`

use crate::{
    connection::BrokerAddress,
    error::{CliError, Outcome, exit},
    follow,
    output::OutputArgs,
    task::spec::{CommandArgs, SpecArgs, StartArgs},
    view::task::TaskView,
};
use asyncflow_proto::v1::Task;

/// The type of tasks that execute a command, unless another is named.
pub const DEFAULT_TYPE: &str = "command";

/// Run a command as a task and follow it
///
/// What it writes comes out here as it is written, and its exit code becomes this command's: 0
/// when it succeeded, 128 + the signal when one ended it, 130 when it was cancelled, 1 when it
/// failed without a process. Ctrl-C cancels the task and waits until it has stopped; a second
/// Ctrl-C leaves at once. There is no shell in between: `-- sh -c 'a | b'` asks for one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The task type
    #[arg(long = "type", short = 't', value_name = "TYPE", default_value = DEFAULT_TYPE)]
    task_type: String,
    /// Print the task and leave; do not follow it
    #[arg(long, short = 'd')]
    detach: bool,
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    command: CommandArgs,
    #[command(flatten)]
    broker: BrokerAddress,
    /// Only together with --detach
    #[command(flatten)]
    output: OutputArgs,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    words: Vec<String>,
}

/// Creates the task and follows it to its end.
pub async fn execute(args: Args) -> Outcome {
    let mut request = args.spec.request(&args.task_type);
    if let Some(spec) = &mut request.task {
        args.start.add_to(spec);
        spec.command = Some(args.command.recorded(&args.words).await?);
    }
    let broker = args.broker.open()?;
    let created = broker.create(request).await?;
    let task = created
        .task
        .ok_or_else(|| CliError::Failed("the broker's answer holds no task".to_owned()))?;
    if args.detach {
        args.output.open().one(&TaskView::from(task))?;
        return Ok(exit::OK);
    }
    announce(&task);
    follow::follow(&broker, task).await
}

fn announce(task: &Task) {
    crate::remark(&format!("{} created", task.id));
}
