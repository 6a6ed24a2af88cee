//! `task wait`

use crate::{
    ending,
    error::{CliError, Outcome, exit},
    session::Session,
    time,
    view::task::TaskView,
};
use asyncflow_sdk::is_terminal;
use prost_types::Duration;

/// Wait until a task has ended; the exit code is the task's
///
/// 0 when it succeeded; the exit code of its process (128 + the signal) when it failed, 1 without
/// a process; 130 when it was cancelled.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    task: String,
    /// Give up after this span (exit code 1)
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    timeout: Option<Duration>,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let id = session.resolve(&args.task).await?;
    let timeout = args.timeout.map(std::time::Duration::try_from).transpose();
    let timeout = timeout.map_err(|error| CliError::Usage(format!("--timeout: {error}")))?;
    let broker = session.patient_about_task(&id).await?;
    let task = broker.client.wait(&id, timeout).await;
    let task = task.map_err(|error| broker.explain(error))?;
    let done = is_terminal(task.state());
    let code = if done { ending::exit_code(&broker, &task).await? } else { exit::ERROR };
    session.output.one(&TaskView::from(task))?;
    if !done {
        crate::remark("the time is over and the task has not ended");
    }
    Ok(code)
}
