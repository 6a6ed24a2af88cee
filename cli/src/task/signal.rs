//! `task signal`

use super::spec::DataArgs;
use crate::{
    error::{Outcome, exit},
    session::Session,
    view::task::TaskView,
};

/// Say to a task that something has happened which it waits for, or will
///
/// It is kept if it comes early. The first signal of a name counts.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    task: String,
    /// The signal
    name: String,
    #[command(flatten)]
    data: DataArgs,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let id = session.resolve(&args.task).await?;
    let task = session.broker.client.signal(&id, &args.name, args.data.content()).await;
    let task = task.map_err(|error| session.broker.explain(error))?;
    session.output.one(&TaskView::from(task))?;
    Ok(exit::OK)
}
