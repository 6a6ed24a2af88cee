//! `task resume`

use super::each::{Tasks, each};
use crate::{error::Outcome, session::Session};

/// Put paused tasks back where they were
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    tasks: Tasks,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let client = &session.broker.client;
    each(session, &args.tasks, |id| async move { client.resume(&id).await }).await
}
