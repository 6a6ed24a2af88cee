//! `worker cordon`

use super::change::{Workers, each};
use crate::error::Outcome;
use asyncflow_proto::v1::UpdateHostRequest;

/// Give a worker no new tasks; what runs there goes on
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    workers: Workers,
}

pub async fn execute(args: Args) -> Outcome {
    let wish = UpdateHostRequest { cordoned: Some(true), ..UpdateHostRequest::default() };
    each(args.workers, wish).await
}
