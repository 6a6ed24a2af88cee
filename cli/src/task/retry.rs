//! `task retry`

use super::{
    bulk::{Chosen, Deed},
    each::each,
};
use crate::{error::Outcome, session::Session};

/// Run finished tasks again; history, context and stage are kept
///
/// With a filter, all that match and, unless it names states, FAILED or were CANCELLED: it asks
/// first.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    tasks: Chosen,
    /// Forget stage and context and begin anew
    #[arg(long)]
    from_start: bool,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let (client, from_start) = (&session.broker.client, args.from_start);
    match args.tasks.named()? {
        Some(tasks) => {
            each(session, &tasks, |id| async move { client.retry(&id, from_start).await }).await
        }
        None => args.tasks.execute(Deed::Retry { from_start }, session).await,
    }
}
