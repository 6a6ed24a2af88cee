//! Which storage parameters PostgreSQL's shard tables should have: whole lives of tasks, driven
//! straight through the store, once per setting and again and again in turn.

use crate::{clock::Stopwatch, error::BenchError, limits::row};
use asyncflow_core::{
    event::{Event, Fence, Settle},
    id::{ShardId, TaskId, TypeName},
    task::{Content, Progress, Task},
    task_type::TaskType,
};
use asyncflow_store::{
    ClaimRequest, Store, StoreOptions, Taker,
    testing::{
        Durability, PostgresStorage, fresh_database, hurry_autovacuum, postgres_storage,
        set_postgres_storage, start_postgres,
    },
};
use clap::Args;
use std::{collections::BTreeMap, fmt::Write, sync::Arc};
use tokio::task::JoinSet;

const LEASE_TTL_MS: i64 = 600_000;
const DRIVERS: i64 = 2;
const BATCH: usize = 250;
const CONTEXT_BYTES: usize = 200;

/// Measures storage parameters of PostgreSQL's shard tables.
#[derive(Args)]
pub struct StorageArgs {
    /// Tasks per run.
    #[arg(long, default_value_t = 50_000)]
    tasks: usize,
    /// Runs of each setting, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Settings to compare, separated by semicolons; an empty one is the server's.
    #[arg(
        long,
        value_delimiter = ';',
        default_value = ";fillfactor = 90;fillfactor = 70;autovacuum_vacuum_scale_factor = 0.05;\
                         autovacuum_vacuum_scale_factor = 0.01"
    )]
    settings: Vec<String>,
}

/// What one run gave.
struct Run {
    tasks_per_second: f64,
    before: PostgresStorage,
    after: PostgresStorage,
}

/// Measures all of them; a table in Markdown with the median of each.
pub async fn measure(args: &StorageArgs) -> Result<String, BenchError> {
    let server = start_postgres(Durability::Full);
    let mut runs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for round in 1..=args.rounds {
        for setting in &args.settings {
            let url = fresh_database(&server).await;
            let run = measure_one(&url, setting, args.tasks).await?;
            eprintln!("round {round} {setting:?}: {:.0} tasks/s", run.tasks_per_second);
            runs.entry(setting).or_default().push(run);
        }
    }
    let mut table = String::from(
        "| setting | tasks/s | bytes/task | dead rows | HOT updates | WAL bytes/task | vacuums |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for setting in &args.settings {
        let Some(runs) = runs.get(setting.as_str()) else { continue };
        let of = |value: fn(&Run) -> f64| median(runs.iter().map(value));
        let per_task = |total: f64| total / args.tasks as f64;
        // Writing into a String cannot fail.
        let _ = writeln!(
            table,
            "| {} | {:.0} | {:.0} | {:.0} | {:.0} % | {:.0} | {:.0} |",
            if setting.is_empty() { "the server's" } else { setting },
            of(|run| run.tasks_per_second),
            per_task(of(|run| run.after.bytes as f64)),
            of(|run| run.after.dead_rows as f64),
            of(|run| 100.0 * run.after.hot_updates as f64 / run.after.updates.max(1) as f64),
            per_task(of(|run| (run.after.wal_bytes - run.before.wal_bytes) as f64)),
            of(|run| run.after.autovacuums as f64),
        );
    }
    Ok(table)
}

async fn measure_one(url: &str, setting: &str, tasks: usize) -> Result<Run, BenchError> {
    let store = Store::connect(&StoreOptions::new(url)).await?;
    store.migrate().await?;
    hurry_autovacuum(&store).await?;
    let name = TypeName::new("work").map_err(|error| BenchError::Other(error.to_string()))?;
    let task_type = Arc::new(store.ensure_type(&name).await?);
    let shard = store.open_shard(&name).await?;
    set_postgres_storage(&store, &shard, setting).await?;
    let before = postgres_storage(&store, &shard).await?;
    let started = Stopwatch::start();
    let mut driving = JoinSet::new();
    for session_id in 1..=DRIVERS {
        let (store, task_type) = (store.clone(), Arc::clone(&task_type));
        let batches = tasks / BATCH / DRIVERS as usize;
        driving.spawn(async move {
            for _ in 0..batches {
                live(&store, &task_type, session_id).await?;
            }
            Ok::<(), BenchError>(())
        });
    }
    while let Some(ended) = driving.join_next().await {
        ended.map_err(|error| BenchError::Other(error.to_string()))??;
    }
    let tasks_per_second = tasks as f64 / started.elapsed().as_secs_f64();
    let after = settled(&store, &shard).await?;
    store.close().await;
    Ok(Run { tasks_per_second, before, after })
}

/// The server's statistics arrive when a session has been idle for a moment.
async fn settled(store: &Store, shard: &ShardId) -> Result<PostgresStorage, BenchError> {
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    Ok(postgres_storage(store, shard).await?)
}

/// A batch from create to complete, with a heartbeat, a report and a saved context in between.
async fn live(store: &Store, of: &Arc<TaskType>, session_id: i64) -> Result<(), BenchError> {
    for made in store.insert((0..BATCH).map(|_| row(of)).collect()).await {
        made.map_err(|error| BenchError::Other(error.to_string()))?;
    }
    let taker = Taker {
        worker_id: format!("worker-{session_id}"),
        session_id,
        acquire_id: String::new(),
        want: BATCH as u32,
        lease_ttl_ms: None,
        takes_only_commands: false,
    };
    let request = ClaimRequest {
        task_type: of.name.clone(),
        limit: BATCH as u32,
        takers: vec![taker],
        is_alone: true,
        bytes_max: usize::MAX,
        after: BTreeMap::new(),
        handout_ttl_ms: LEASE_TTL_MS,
    };
    let tasks: Vec<Task> =
        store.claim(&request).await?.leased.into_iter().map(|l| l.task.task).collect();
    let steps: [fn(Fence) -> Event; 5] = [
        |fence| Event::Start { fence, lease_ttl_ms: LEASE_TTL_MS },
        |fence| Event::Heartbeat { fence, lease_ttl_ms: LEASE_TTL_MS },
        report,
        save,
        |fence| Event::Settle {
            fence,
            settle: Settle::complete(None),
            digest: 1,
            exit_code: None,
            usage: None,
        },
    ];
    for step in steps {
        let event = |task: &Task| {
            let fence = Fence { attempt: task.attempt, session_id };
            (task.id.clone(), step(fence))
        };
        let events: Vec<(TaskId, Event)> = tasks.iter().map(event).collect();
        for applied in store.apply(events).await {
            applied.map_err(|error| BenchError::Other(error.to_string()))?;
        }
    }
    Ok(())
}

fn report(fence: Fence) -> Event {
    let progress = Progress { percent: Some(50.0), ..Progress::default() };
    Event::Report { fence, progress }
}

fn save(fence: Fence) -> Event {
    let context = Content { data: vec![b'c'; CONTEXT_BYTES].into(), content_type: String::new() };
    let stage = Some("half".to_owned());
    Event::SaveContext { fence, stage, context: Some(context), expected_version: None }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
