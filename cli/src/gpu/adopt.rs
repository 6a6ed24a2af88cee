//! `gpu adopt`

use super::change::{Processes, treat};
use crate::{connection::Broker, error::Outcome, output::Output};
use asyncflow_proto::v1::GpuProcessTreatment;

/// Take processes as reservations of their users: the GPU is theirs until they end
///
/// However little they use, nothing is started there meanwhile.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    processes: Processes,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    treat(&args.processes, GpuProcessTreatment::Adopted, broker, output).await
}
