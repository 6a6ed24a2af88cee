//! `workflow wait`

use crate::{
    error::{CliError, Outcome, exit},
    session::Session,
    time,
    view::workflow::WorkflowView,
};
use asyncflow_proto::v1::WorkflowState;
use prost_types::Duration;

/// Wait until a workflow is over
///
/// The exit code is 0 when it succeeded, 1 when it failed, 130 when it was cancelled.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    workflow: String,
    /// Give up after this span (exit code 1)
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    timeout: Option<Duration>,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let id = session.workflow(&args.workflow).await?;
    let timeout = args.timeout.map(std::time::Duration::try_from).transpose();
    let timeout = timeout.map_err(|error| CliError::Usage(format!("--timeout: {error}")))?;
    let broker = session.patient_about_workflow(&id).await?;
    let workflow = broker.client.wait_workflow(&id, timeout).await;
    let workflow = workflow.map_err(|error| broker.explain(error))?;
    let state = workflow.state();
    session.output.one(&WorkflowView::from(workflow))?;
    if !asyncflow_sdk::is_workflow_over(state) {
        crate::remark("the time is over and the workflow is not");
    }
    Ok(match state {
        WorkflowState::Succeeded => exit::OK,
        WorkflowState::Cancelled => exit::CANCELLED,
        _ => exit::ERROR,
    })
}
