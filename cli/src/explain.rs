//! `asyncflow explain`

use crate::{
    connection::BrokerAddress,
    error::{Outcome, exit},
    output::OutputArgs,
    resolve::Lookup,
    view::explanation::ExplanationView,
};

/// Say why a task is where it is
///
/// First in one sentence, then in parts: which host has how much free, who holds a GPU, how many
/// tasks are before it, and when it starts at the earliest if tasks end by their limits.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    task: String,
    #[command(flatten)]
    broker: BrokerAddress,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    lookup: Lookup,
}

pub async fn execute(args: Args) -> Outcome {
    let (broker, output) = (args.broker.open()?, args.output.open());
    let id = args.lookup.task(&broker, &args.task).await?;
    let explained = broker.client.explain(&id).await;
    let view = ExplanationView::new(id, explained.map_err(|error| broker.explain(error))?);
    if output.is_table() {
        let lines = view.lines(output.look());
        lines.iter().try_for_each(|line| output.line(line))?;
    } else {
        output.one(&view)?;
    }
    Ok(exit::OK)
}
