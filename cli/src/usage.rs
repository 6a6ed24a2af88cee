//! `asyncflow usage`

use crate::{
    connection::BrokerAddress,
    error::{Outcome, exit},
    filter::parse_back,
    output::OutputArgs,
    view::usage::UsageView,
};
use prost_types::Timestamp;

/// Show how long users have had GPUs and cores, those with the most first
///
/// SHARE is what fair shares go by: GPU time of which half is forgotten every week. Who has less
/// of it comes earlier.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Since: RFC 3339, or a span back from now such as 7d; by days. Default: 30 days
    #[arg(long, value_name = "TIME", value_parser = parse_back)]
    since: Option<Timestamp>,
    /// Only of this user
    #[arg(long, short = 'u')]
    user: Option<String>,
    #[command(flatten)]
    broker: BrokerAddress,
    #[command(flatten)]
    output: OutputArgs,
}

pub async fn execute(args: Args) -> Outcome {
    let broker = args.broker.open()?;
    let user = args.user.unwrap_or_default();
    let users = broker.client.usage(args.since, &user).await;
    let users = users.map_err(|error| broker.explain(error))?;
    let views: Vec<UsageView> = users.into_iter().map(Into::into).collect();
    args.output.open().many(&views)?;
    Ok(exit::OK)
}
