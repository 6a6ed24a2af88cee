//! `task cancel`

use super::each::{Tasks, each};
use crate::{error::Outcome, session::Session};

/// Cancel tasks; a running one is CANCELLING until its worker has stopped it
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    tasks: Tasks,
    /// Why, for people
    #[arg(long, short = 'm', value_name = "TEXT", default_value = "")]
    reason: String,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let (client, reason) = (&session.broker.client, args.reason.as_str());
    each(session, &args.tasks, |id| async move { client.cancel(&id, reason).await }).await
}
