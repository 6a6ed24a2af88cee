//! `gpu cordon`

use super::change::{Gpus, each};
use crate::{connection::Broker, error::Outcome, output::Output};

/// Keep tasks away from GPUs; what runs there goes on
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    gpus: Gpus,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    each(&args.gpus, broker, output, |worker_id, uuid| async move {
        broker.client.update_gpu(&worker_id, &uuid, true).await.map(Some)
    })
    .await
}
