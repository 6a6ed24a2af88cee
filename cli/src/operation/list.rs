//! `operation list`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
    filter::limit,
    output::Output,
    view::operation::OperationView,
};
use futures::{StreamExt, TryStreamExt};

/// List operations, newest first
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only those of this user
    #[arg(long, default_value_t)]
    user: String,
    /// At most this many; 0 = all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let operations = broker.client.operations(&args.user).take(limit(args.limit));
    let views = operations.map_ok(OperationView::from);
    let views = views.map_err(|error| broker.explain(error));
    output.each(views, args.limit).await?;
    Ok(exit::OK)
}
