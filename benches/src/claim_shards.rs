//! What a claim costs over 1, 3 and 10 active shards of which only the newest holds pending work:
//! the store alone, without gRPC. With the marks that a broker keeps, as nearly every claim of it,
//! and without, as its first one after a start.

use crate::{clock::Stopwatch, error::BenchError, limits, record::Records, target::Target};
use asyncflow_core::{
    event::{Event, Fence, Settle},
    id::{ShardId, TypeName},
    task_type::TaskType,
};
use asyncflow_store::{ClaimRequest, Claimed, Mark, Store, StoreOptions, Taker};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const SHARDS: [usize; 3] = [1, 3, 10];
const ROUNDS: usize = 200;
/// Tasks that an older shard has seen through.
const ROWS: usize = 1_000;

/// A type with some active shards.
struct Subject {
    task_type: Arc<TaskType>,
    marks: BTreeMap<ShardId, Mark>,
    spans: Vec<Duration>,
}

pub async fn measure(target: &Target, records: &mut Records) -> Result<(), BenchError> {
    let store = Store::connect(&StoreOptions::new(target.database_url())).await?;
    let mut subjects = Vec::new();
    for shards in SHARDS {
        subjects.push(prepare(&store, shards).await?);
    }
    for (batch, full) in [(1, false), (1, true), (100, false), (100, true)] {
        let kind = if full { "claim without marks" } else { "claim" };
        // Turn by turn, so that what else the machine does meets all of them alike.
        for _ in 0..ROUNDS {
            for subject in &mut subjects {
                insert(&store, &subject.task_type, batch).await?;
                if full {
                    subject.marks.clear();
                }
                let watch = Stopwatch::start();
                let claimed = claim(&store, subject, batch).await?;
                subject.spans.push(watch.elapsed());
                complete(&store, claimed).await?;
            }
        }
        let mut medians = Vec::new();
        for (subject, shards) in subjects.iter_mut().zip(SHARDS) {
            let median = median_ms(&mut subject.spans);
            let measure = format!("{kind} of {batch} over {shards} active shards, p50");
            records.add(&measure, "ms", median)?;
            medians.push(median);
        }
        let measure = format!("{kind} of {batch}, 10 shards against 1");
        records.add(&measure, "x", medians[2] / medians[0])?;
    }
    store.close().await;
    Ok(())
}

async fn prepare(store: &Store, shards: usize) -> Result<Subject, BenchError> {
    let name = TypeName::new(&format!("claims_{shards}")).map_err(other)?;
    let task_type = Arc::new(store.ensure_type(&name).await?);
    let mut subject = Subject { task_type, marks: BTreeMap::new(), spans: Vec::new() };
    for _ in 1..shards {
        insert(store, &subject.task_type, ROWS).await?;
        for _ in 0..ROWS / 500 {
            let claimed = claim(store, &mut subject, 500).await?;
            complete(store, claimed).await?;
        }
        store.roll_shard(&name, None).await?;
    }
    Ok(subject)
}

async fn insert(store: &Store, task_type: &Arc<TaskType>, count: usize) -> Result<(), BenchError> {
    let rows = (0..count).map(|_| limits::row(task_type)).collect();
    for inserted in store.insert(rows).await {
        inserted.map_err(other)?;
    }
    Ok(())
}

async fn claim(store: &Store, subject: &mut Subject, batch: usize) -> Result<Claimed, BenchError> {
    let want = u32::try_from(batch).map_err(other)?;
    let taker = Taker {
        worker_id: "bench".into(),
        session_id: 1,
        acquire_id: String::new(),
        want,
        lease_ttl_ms: None,
        takes_only_commands: false,
    };
    let request = ClaimRequest {
        task_type: subject.task_type.name.clone(),
        limit: want,
        takers: vec![taker],
        is_alone: true,
        bytes_max: usize::MAX,
        after: subject.marks.clone(),
        handout_ttl_ms: 60_000,
    };
    let claimed = store.claim(&request).await?;
    if claimed.leased.len() != batch {
        return Err(BenchError::Other(format!("{} of {batch} claimed", claimed.leased.len())));
    }
    subject.marks.extend(claimed.marks.clone());
    Ok(claimed)
}

async fn complete(store: &Store, claimed: Claimed) -> Result<(), BenchError> {
    let events = claimed.leased.into_iter().map(|leased| {
        let task = leased.task.task;
        let fence = Fence { attempt: task.attempt, session_id: 1 };
        let settle = Settle::complete(None);
        (task.id, Event::Settle { fence, settle, digest: 1, exit_code: None, usage: None })
    });
    for settled in store.apply(events.collect()).await {
        settled.map_err(other)?;
    }
    Ok(())
}

fn median_ms(spans: &mut Vec<Duration>) -> f64 {
    spans.sort_unstable();
    let median = spans.get(spans.len() / 2).copied().unwrap_or_default();
    spans.clear();
    median.as_secs_f64() * 1_000.0
}

fn other(error: impl std::fmt::Display) -> BenchError {
    BenchError::Other(error.to_string())
}
