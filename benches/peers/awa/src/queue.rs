//! What the scenarios need of awa.

use awa::{
    Client, InsertOpts, JobArgs, JobResult, QueueConfig, QueueStorage, QueueStorageConfig,
    model::{insert, migrations},
};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgPoolOptions};
use std::{
    env,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
    time::Duration,
};

pub type Error = Box<dyn std::error::Error + Send + Sync>;

const QUEUE: &str = "bench";
/// More of them only wait for each other.
const CONNECTIONS: u32 = 32;
const MAX_WORKERS: u32 = 256;
/// One enqueue at a time holds the head of a queue until its commit; a hot queue has several heads.
const ENQUEUE_SHARDS: i16 = 8;
/// How often the end of a drain is looked for, once all handlers have run.
const LOOK: Duration = Duration::from_millis(2);

#[derive(Clone, Serialize, Deserialize, JobArgs)]
struct Job {
    payload: String,
}

pub struct Queue {
    pool: PgPool,
    store: Arc<QueueStorage>,
    job: Job,
}

impl Queue {
    pub async fn open(payload_bytes: usize) -> Result<Self, Error> {
        let options = PgPoolOptions::new().max_connections(CONNECTIONS);
        let pool = options.connect(&env::var("DATABASE_URL")?).await?;
        migrations::run(&pool).await?;
        let store = Arc::new(QueueStorage::new(QueueStorageConfig::default())?);
        store.install(&pool).await?;
        let shards = "INSERT INTO awa.queue_meta (queue, enqueue_shards) VALUES ($1, $2)";
        sqlx::query(shards).bind(QUEUE).bind(ENQUEUE_SHARDS).execute(&pool).await?;
        Ok(Self { pool, store, job: Job { payload: "x".repeat(payload_bytes) } })
    }

    /// By the store itself, which takes half of the time of `awa::insert_with`.
    pub async fn enqueue_one(&self) -> Result<(), Error> {
        let job = insert::params_with(&self.job, options())?;
        self.store.enqueue_params_batch(&self.pool, &[job]).await?;
        Ok(())
    }

    pub async fn enqueue_bulk(&self, count: usize) -> Result<(), Error> {
        let job = insert::params_with(&self.job, options())?;
        self.store.enqueue_params_copy(&self.pool, &vec![job; count]).await?;
        Ok(())
    }

    /// The first tasks of a queue make what it lacks, one lane each; two callers at once would trip
    /// over each other.
    pub async fn make_lanes(&self) -> Result<(), Error> {
        for _ in 0..ENQUEUE_SHARDS {
            self.enqueue_bulk(1).await?;
        }
        Ok(())
    }

    /// Starts a worker that calls `begun` in the handler of each task.
    pub async fn work(&self, begun: impl Fn() + Send + Sync + 'static) -> Result<Worker, Error> {
        let handled = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&handled);
        let config = QueueConfig {
            max_workers: MAX_WORKERS,
            // Its short path for short jobs is for those without a deadline.
            deadline_duration: Duration::ZERO,
            ..QueueConfig::default()
        };
        let client = Client::builder(self.pool.clone())
            .queue(QUEUE, config)
            .register::<Job, _, _>(move |_job, _context| {
                begun();
                counter.fetch_add(1, Ordering::Relaxed);
                async { Ok(JobResult::Completed) }
            })
            .build()?;
        client.start().await?;
        let (pool, store) = (self.pool.clone(), Arc::clone(&self.store));
        Ok(Worker { _client: client, handled, pool, store })
    }
}

pub struct Worker {
    /// It works until it is dropped.
    _client: Client,
    handled: Arc<AtomicUsize>,
    pool: PgPool,
    store: Arc<QueueStorage>,
}

impl Worker {
    /// Waits until so many are completed and that is committed, which is after their handlers.
    pub async fn completed(&self, count: usize) -> Result<(), Error> {
        while self.handled.load(Ordering::Relaxed) < count
            || self.store.queue_counts(&self.pool, QUEUE).await?.terminal < i64::try_from(count)?
        {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

fn options() -> InsertOpts {
    InsertOpts { queue: QUEUE.into(), ..InsertOpts::default() }
}
