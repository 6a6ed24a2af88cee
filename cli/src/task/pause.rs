//! `task pause`

use super::each::{Tasks, each};
use crate::{error::Outcome, session::Session};

/// Take waiting tasks out of the queue
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    tasks: Tasks,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let client = &session.broker.client;
    each(session, &args.tasks, |id| async move { client.pause(&id).await }).await
}
