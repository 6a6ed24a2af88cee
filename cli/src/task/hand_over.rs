//! `task hand-over`

use crate::{
    error::{Outcome, exit},
    session::Session,
    task::spec::HandOverArgs,
    view::task::TaskView,
};
use asyncflow_proto::v1::HandOverTaskRequest;

/// Ask a running task to save and stop, so that another host goes on with it
///
/// No attempt is counted. It goes on from what it saved, or from --context, unless the task itself
/// says something else when it stops.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    task: String,
    /// Why, for people
    #[arg(long, short = 'm', value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    context: HandOverArgs,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let context = args.context.content()?;
    let task_id = session.resolve(&args.task).await?;
    let request = HandOverTaskRequest { task_id, context, message: args.reason };
    let task = session.broker.client.hand_over(request).await;
    session.output.one(&TaskView::from(task.map_err(|error| session.broker.explain(error))?))?;
    Ok(exit::OK)
}
