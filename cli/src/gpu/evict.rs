//! `gpu evict`

use super::change::{Gpus, each};
use crate::{connection::Broker, error::Outcome, output::Output};

/// Keep tasks away from GPUs, and ask those that are there to save and go elsewhere
///
/// No attempt is counted against them. `asyncflow gpu uncordon` lets tasks come again.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    gpus: Gpus,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    each(&args.gpus, broker, output, |worker_id, uuid| async move {
        let answer = broker.client.evict_gpu(&worker_id, &uuid).await?;
        for id in &answer.task_ids {
            crate::remark(&format!("{id} was asked to save and go elsewhere"));
        }
        Ok(answer.host)
    })
    .await
}
