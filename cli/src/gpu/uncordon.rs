//! `gpu uncordon`

use super::change::{Gpus, each};
use crate::{connection::Broker, error::Outcome, output::Output};

/// Let tasks come to GPUs again, and forget the faults that they have shown
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    gpus: Gpus,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    each(&args.gpus, broker, output, |worker_id, uuid| async move {
        broker.client.update_gpu(&worker_id, &uuid, false).await.map(Some)
    })
    .await
}
