//! `workflow list`

use crate::{
    error::{Outcome, exit},
    filter::limit,
    session::Session,
    view::workflow::WorkflowView,
};
use asyncflow_proto::v1::WorkflowState;
use futures::{StreamExt, TryStreamExt, future::ready};

/// List workflows, newest first
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only in this state; may be repeated
    #[arg(long = "state", short = 's', value_name = "STATE", value_parser = parse_state)]
    states: Vec<WorkflowState>,
    /// Only those of this user
    #[arg(long, short = 'u', default_value_t)]
    user: String,
    /// At most this many; 0 = all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let is_asked = |state| args.states.is_empty() || args.states.contains(&state);
    let workflows = session.broker.client.workflows(&args.user);
    let workflows = workflows.try_filter(|workflow| ready(is_asked(workflow.state())));
    let views = workflows.take(limit(args.limit)).map_ok(WorkflowView::from);
    let views = views.map_err(|error| session.broker.explain(error));
    session.output.each(views, args.limit).await?;
    Ok(exit::OK)
}

/// Reads a state in any case.
fn parse_state(text: &str) -> Result<WorkflowState, String> {
    let known = (1..).map_while(|number| WorkflowState::try_from(number).ok());
    let name = |state: WorkflowState| {
        state.as_str_name().trim_start_matches("WORKFLOW_STATE_").to_lowercase()
    };
    let found = known.clone().find(|state| name(*state).eq_ignore_ascii_case(text));
    let names = || known.map(name).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| format!("it must be one of {}", names()))
}
