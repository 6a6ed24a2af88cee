//! `task attempts`

use crate::{
    error::{Outcome, exit},
    session::Session,
    view::attempt::AttemptView,
};

/// List the attempts to run a task, oldest first
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    task: String,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let id = session.resolve(&args.task).await?;
    let attempts = session.broker.client.attempts(&id).await;
    let attempts = attempts.map_err(|error| session.broker.explain(error))?;
    let views: Vec<AttemptView> = attempts.into_iter().map(Into::into).collect();
    session.output.many(&views)?;
    Ok(exit::OK)
}
