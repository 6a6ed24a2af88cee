//! `worker uncordon`

use super::change::{Workers, each};
use crate::error::Outcome;
use asyncflow_proto::v1::UpdateHostRequest;

/// Give a worker tasks again, also one that was told to drain
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    workers: Workers,
}

pub async fn execute(args: Args) -> Outcome {
    let wish = UpdateHostRequest {
        cordoned: Some(false),
        draining: Some(false),
        ..UpdateHostRequest::default()
    };
    each(args.workers, wish).await
}
