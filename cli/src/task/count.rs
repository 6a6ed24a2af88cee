//! `task count`

use crate::{
    error::{Outcome, exit},
    filter::State,
    session::Session,
    view::count::CountView,
};
use asyncflow_proto::v1::CountTasksRequest;

/// Count tasks by type, user and state; `-o id` prints the total only
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only in this state; may be repeated
    #[arg(long = "state", short = 's', value_name = "STATE", value_parser = State::parse)]
    states: Vec<State>,
    /// Only of this type
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    task_type: Option<String>,
    /// Only of this user
    #[arg(long, short = 'u')]
    user: Option<String>,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let request = CountTasksRequest {
        task_type: args.task_type.unwrap_or_default(),
        user: args.user.unwrap_or_default(),
        states: args.states.iter().map(|state| state.0.into()).collect(),
    };
    let answer = session.broker.client.count(request).await;
    let answer = answer.map_err(|error| session.broker.explain(error))?;
    if session.output.is_ids() {
        session.output.line(&answer.total.to_string())?;
        return Ok(exit::OK);
    }
    let counts: Vec<CountView> = answer.counts.into_iter().map(Into::into).collect();
    session.output.many(&counts)?;
    if session.output.is_table() {
        session.output.line(&format!("total {}", answer.total))?;
    }
    Ok(exit::OK)
}
