//! `worker detach`

use super::change::{Workers, each};
use crate::error::Outcome;
use asyncflow_proto::v1::UpdateHostRequest;

/// End a worker at once and leave what runs there running
///
/// The worker that starts next on that host adopts it: this is how a worker is upgraded.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    workers: Workers,
}

pub async fn execute(args: Args) -> Outcome {
    each(args.workers, UpdateHostRequest { detach: true, ..UpdateHostRequest::default() }).await
}
