//! `worker drain`

use super::change::{Workers, each};
use crate::error::Outcome;
use asyncflow_proto::v1::UpdateHostRequest;

/// Give a worker no new tasks; it ends when what runs there has ended, and stays cordoned
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    workers: Workers,
}

pub async fn execute(args: Args) -> Outcome {
    let wish = UpdateHostRequest { draining: Some(true), ..UpdateHostRequest::default() };
    each(args.workers, wish).await
}
