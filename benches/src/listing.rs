//! The first page of every kind of list, and every count, over many rows.
//!
//! `prepare` brings up three shards of 200 users; `measure` asks a broker, and goes by what is
//! there, whoever has written it.

use crate::{clock::Stopwatch, error::BenchError, limits, record::Records, target::Target};
use asyncflow_core::{
    event::{Event, Fence, RetryHint, Settle},
    id::TypeName,
    reason::FailureReason,
    task::Labels,
};
use asyncflow_proto::v1::{CountTasksRequest, ListTasksRequest};
use asyncflow_store::{ClaimRequest, Store, StoreOptions, Taker, testing::fill_finished};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const USERS: usize = 200;
const SHARDS: usize = 3;
const BATCH: usize = 500;
const FAILED: usize = 3_000;
const PENDING: usize = 1_000;
const SAMPLES: usize = 100;

/// A type of `rows` tasks, all but a few of them SUCCEEDED; 3,000 old ones are FAILED, 1,000 young
/// ones PENDING.
pub async fn prepare(target: &Target, task_type: &str, rows: usize) -> Result<(), BenchError> {
    let store = Store::connect(&StoreOptions::new(target.database_url())).await?;
    let name = TypeName::new(task_type).map_err(other)?;
    fail(&store, &name).await?;
    let batches = (rows / BATCH).max(SHARDS);
    for batch in 0..batches {
        let user = format!("user{:03}", batch % USERS);
        let parity = if batch % 2 == 0 { "even" } else { "odd" };
        let labels = [("bench", "all"), ("parity", parity)];
        let labels: Labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        fill_finished(&store, &name, &user, &labels, BATCH).await?;
        if batch % (batches / SHARDS) == batches / SHARDS - 1 && batch < batches - SHARDS {
            store.roll_shard(&name, None).await?;
        }
    }
    let of_type = Arc::new(store.ensure_type(&name).await?);
    for inserted in store.insert((0..PENDING).map(|_| limits::row(&of_type)).collect()).await {
        inserted.map_err(other)?;
    }
    store.close().await;
    Ok(())
}

async fn fail(store: &Store, name: &TypeName) -> Result<(), BenchError> {
    let of_type = Arc::new(store.ensure_type(name).await?);
    for _ in 0..FAILED / BATCH {
        for inserted in store.insert((0..BATCH).map(|_| limits::row(&of_type)).collect()).await {
            inserted.map_err(other)?;
        }
        let want = BATCH as u32;
        let taker =
            Taker { worker_id: "bench".into(), session_id: 1, acquire_id: String::new(), want };
        let request = ClaimRequest {
            task_type: name.clone(),
            limit: want,
            takers: vec![taker],
            after: BTreeMap::new(),
            handout_ttl_ms: 60_000,
        };
        let events = store.claim(&request).await?.leased.into_iter().map(|leased| {
            let task = leased.task.task;
            let fence = Fence { attempt: task.attempt, session_id: 1 };
            let reason = FailureReason::Permanent;
            let settle = Settle::Fail { reason, message: String::new(), hint: RetryHint::Never };
            (task.id, Event::Settle { fence, settle, digest: 1, exit_code: None })
        });
        for settled in store.apply(events.collect()).await {
            settled.map_err(other)?;
        }
    }
    Ok(())
}

/// Every list: what it is called, and its filter but for the type.
const LISTS: [(&str, &str); 15] = [
    ("everything", ""),
    ("user", "user = user007"),
    ("user who has none", "user = nobody"),
    ("user, SUCCEEDED", "user = user007 AND state = SUCCEEDED"),
    ("user, FAILED (none)", "user = user007 AND state = FAILED"),
    ("SUCCEEDED", "state = SUCCEEDED"),
    ("FAILED (few and old)", "state = FAILED"),
    ("RUNNING or PENDING", "(state = RUNNING OR state = PENDING)"),
    ("SUCCEEDED since 2026", "state = SUCCEEDED AND create_time >= \"2026-01-01T00:00:00Z\""),
    ("FAILED since 2026", "state = FAILED AND create_time >= \"2026-01-01T00:00:00Z\""),
    ("label of all", "labels.bench = all"),
    ("label of all and of half", "labels.bench = all AND labels.parity = odd"),
    ("label of all, user", "labels.bench = all AND user = user007"),
    ("label of all, user, FAILED", "labels.bench = all AND user = user007 AND state = FAILED"),
    ("label of half, FAILED", "labels.parity = odd AND state = FAILED"),
];

/// p50 and p99 of the first page of 50 of each list, and of each count, of a type.
pub async fn measure(
    target: &Target,
    task_type: &str,
    records: &mut Records,
) -> Result<(), BenchError> {
    let owner = target.owner().await?;
    for (name, conditions) in LISTS {
        let and = if conditions.is_empty() { "" } else { " AND " };
        let filter = format!("task_type = {task_type}{and}{conditions}");
        let request = ListTasksRequest { filter, ..ListTasksRequest::default() };
        let spans = sample(async || {
            owner.clone().list_tasks(request.clone()).await.map(drop).map_err(BenchError::from)
        });
        note(&format!("first page: {name}"), spans.await?, records)?;
    }
    let of_type = CountTasksRequest { task_type: task_type.to_owned(), ..Default::default() };
    let of_user = CountTasksRequest { user: "user007".to_owned(), ..Default::default() };
    let counts = [("all", CountTasksRequest::default()), ("type", of_type), ("user", of_user)];
    for (name, request) in counts {
        let spans = sample(async || {
            owner.clone().count_tasks(request.clone()).await.map(drop).map_err(BenchError::from)
        });
        note(&format!("count: {name}"), spans.await?, records)?;
    }
    let store = Store::connect(&StoreOptions::new(target.database_url())).await?;
    let spans = sample(async || Ok(store.shard_counts(None).await.map(drop)?)).await;
    store.close().await;
    note("count: shards by state", spans?, records)
}

async fn sample(
    ask: impl AsyncFn() -> Result<(), BenchError>,
) -> Result<Vec<Duration>, BenchError> {
    let mut spans = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let watch = Stopwatch::start();
        ask().await?;
        spans.push(watch.elapsed());
    }
    spans.sort_unstable();
    Ok(spans)
}

fn note(name: &str, spans: Vec<Duration>, records: &mut Records) -> Result<(), BenchError> {
    for (quantile, at) in [("p50", SAMPLES / 2), ("p99", SAMPLES * 99 / 100)] {
        let span = spans.get(at).copied().unwrap_or_default();
        records.add(&format!("{name}, {quantile}"), "ms", span.as_secs_f64() * 1_000.0)?;
    }
    Ok(())
}

fn other(error: impl std::fmt::Display) -> BenchError {
    BenchError::Other(error.to_string())
}
