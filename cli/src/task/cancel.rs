//! `task cancel`

use super::{
    bulk::{Chosen, Deed},
    each::each,
};
use crate::{error::Outcome, session::Session};

/// Cancel tasks; a running one is CANCELLING until its worker has stopped it
///
/// With a filter, all that match and have not ended: it asks first.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    tasks: Chosen,
    /// Why, for people
    #[arg(long, short = 'm', value_name = "TEXT", default_value = "")]
    reason: String,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let (client, reason) = (&session.broker.client, args.reason.as_str());
    match args.tasks.named()? {
        Some(tasks) => {
            each(session, &tasks, |id| async move { client.cancel(&id, reason).await }).await
        }
        None => args.tasks.execute(Deed::Cancel { reason }, session).await,
    }
}
