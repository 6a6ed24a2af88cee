//! `task delete`

use super::{
    bulk::{Chosen, Deed},
    each::report,
};
use crate::{
    error::{Outcome, exit},
    session::Session,
};

/// Delete tasks with their history and logs; prints the ids that are gone
///
/// With a filter, all that match, but for those that run: it asks first, and prints how many are
/// gone.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    tasks: Chosen,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let Some(tasks) = args.tasks.named()? else {
        return args.tasks.execute(Deed::Delete, session).await;
    };
    let ids = session.lookup.tasks(&session.broker, &tasks.typed).await?;
    let mut failed: Option<u8> = None;
    for id in ids {
        match session.broker.client.delete(&id).await {
            Ok(()) => session.output.line(&id)?,
            Err(error) => {
                let error = session.broker.explain(error);
                report(&id, &error);
                failed.get_or_insert(error.exit_code());
            }
        }
    }
    Ok(failed.unwrap_or(exit::OK))
}
