//! `task retry`

use super::each::{Tasks, each};
use crate::{error::Outcome, session::Session};

/// Run finished tasks again; history, context and stage are kept
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    tasks: Tasks,
    /// Forget stage and context and begin anew
    #[arg(long)]
    from_start: bool,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let client = &session.broker.client;
    each(session, &args.tasks, |id| async move { client.retry(&id, args.from_start).await }).await
}
