//! `gpu ignore`

use super::change::{Processes, treat};
use crate::{connection::Broker, error::Outcome, output::Output};
use asyncflow_proto::v1::GpuProcessTreatment;

/// Take processes as if they were not there; their memory is still not given away
///
/// It ends with the process.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    processes: Processes,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    treat(&args.processes, GpuProcessTreatment::Ignored, broker, output).await
}
