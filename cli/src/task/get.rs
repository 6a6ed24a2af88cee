//! `task get`

use crate::{
    error::{Outcome, exit},
    session::Session,
    view::task::TaskView,
};

/// Show all that is known of a task
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    task: String,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let id = session.resolve(&args.task).await?;
    let task = session.broker.client.get(&id).await;
    let task = task.map_err(|error| session.broker.explain(error))?;
    session.output.one(&TaskView::from(task))?;
    Ok(exit::OK)
}
