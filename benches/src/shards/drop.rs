//! Drops the shards whose tasks are all terminal, through the governor, as an operator does.

use super::{disk, figures, registry::Registry};
use crate::{clock::Stopwatch, error::BenchError, target::Target};
use asyncflow_core::shard::ShardState;
use asyncflow_proto::v1::{DropShardRequest, DropShardResponse};
use std::time::Duration;
use tonic::Code;

/// How long a shard may take to be found drained, and to be dropped.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
/// PostgreSQL gives files back at its next checkpoint at the latest, which is not waited for.
const GIVE_BACK: Duration = Duration::from_secs(10);

/// Waits until the governor has found the shard drained, and lets it be dropped.
pub async fn drop(
    target: &Target,
    registry: &Registry,
    task_type: &str,
    shard: i32,
) -> Result<figures::Drop, BenchError> {
    let waiting = Stopwatch::start();
    while registry.state(shard) != Some(ShardState::Drained) {
        if waiting.elapsed() > PATIENCE {
            let state = registry.state(shard);
            return Err(BenchError::Other(format!("shard {shard} stays {state:?}")));
        }
        tokio::time::sleep(LOOK).await;
    }
    let folder = target.table_folder();
    let before_bytes = disk::used_bytes(&folder);
    let (answer, took) = ask(target, task_type, shard).await?;
    let given_back = Stopwatch::start();
    let mut after_bytes = disk::used_bytes(&folder);
    while after_bytes >= before_bytes && given_back.elapsed() < GIVE_BACK {
        tokio::time::sleep(LOOK).await;
        after_bytes = disk::used_bytes(&folder);
    }
    Ok(figures::Drop { shard, rows: answer.rows, took, before_bytes, after_bytes })
}

/// UNAVAILABLE means that somebody reads the shard.
async fn ask(
    target: &Target,
    task_type: &str,
    number: i32,
) -> Result<(DropShardResponse, Duration), BenchError> {
    let mut governor = target.governor().await?;
    let waiting = Stopwatch::start();
    loop {
        let task_type = task_type.to_owned();
        let request = DropShardRequest { task_type, number, validate_only: false };
        let asked = Stopwatch::start();
        match governor.drop_shard(request).await {
            Ok(answer) => return Ok((answer.into_inner(), asked.elapsed())),
            Err(status) if status.code() == Code::Unavailable && waiting.elapsed() < PATIENCE => {
                tokio::time::sleep(LOOK).await;
            }
            Err(status) => return Err(status.into()),
        }
    }
}
