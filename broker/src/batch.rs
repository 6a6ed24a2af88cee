//! Group commit: calls that arrive while a batch commits form the next one.
//!
//! ```text
//!  caller ─┐                      ┌────────── writer ──────────┐
//!  caller ─┼─▶ open batch (rows) ─┤ take ≤ 500 rows ─▶ commit ─┼─▶ each caller its rows' results
//!  caller ─┘   bounded            └──────── again ◀────────────┘
//! ```
//!
//! No timer waits for company: an idle writer commits what is there at once. A caller that went
//! away before its rows were taken is skipped; afterwards its rows are committed and nobody hears
//! of it. A commit that panics fails its own callers and nobody else.

use std::{
    collections::VecDeque,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

/// The bounds of a group-commit point.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Names its metrics.
    pub name: &'static str,
    /// Batches that may be committed at the same time.
    pub writers: usize,
    /// Most rows in a batch, unless one caller alone brings more.
    pub batch_rows_max: usize,
    /// Most bytes in a batch, unless one caller alone brings more.
    pub batch_bytes_max: usize,
    /// Most rows that wait; beyond it callers are refused.
    pub queue_rows_max: usize,
    /// Most bytes that wait, likewise; a call of more than this waits only alone.
    pub queue_bytes_max: usize,
}

/// Why rows did not get into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Too many rows wait already: try again in a moment.
    #[error("too many rows wait to be written")]
    Full,
    /// The process ends.
    #[error("the broker is shutting down")]
    Closed,
    /// A defect: the writer gave no result for each row. They may have been written.
    #[error("the broker failed while it wrote")]
    Broken,
}

/// What writes a batch: one result for each row, in their order.
pub type Commit<T, R> =
    Box<dyn Fn(Vec<T>) -> Pin<Box<dyn Future<Output = Vec<R>> + Send>> + Send + Sync>;

/// A group-commit point; clones share it.
pub struct Batch<T, R> {
    shared: Arc<Shared<T, R>>,
}

impl<T, R> Clone for Batch<T, R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<T, R> {
    bounds: Bounds,
    commit: Commit<T, R>,
    queue: Mutex<Queue<T, R>>,
    arrived: Notify,
}

struct Queue<T, R> {
    groups: VecDeque<Group<T, R>>,
    rows: usize,
    bytes: usize,
    closed: bool,
}

impl<T, R> Queue<T, R> {
    fn push(&mut self, group: Group<T, R>) {
        self.rows += group.rows.len();
        self.bytes += group.bytes;
        self.groups.push_back(group);
    }

    fn pop(&mut self) -> Option<Group<T, R>> {
        let group = self.groups.pop_front()?;
        self.rows -= group.rows.len();
        self.bytes -= group.bytes;
        Some(group)
    }

    fn unpop(&mut self, group: Group<T, R>) {
        self.rows += group.rows.len();
        self.bytes += group.bytes;
        self.groups.push_front(group);
    }

    fn has_room(&self, rows: usize, bytes: usize, bounds: &Bounds) -> bool {
        let fits = self.rows + rows <= bounds.queue_rows_max
            && self.bytes.saturating_add(bytes) <= bounds.queue_bytes_max;
        fits || self.groups.is_empty()
    }
}

/// The rows of one caller; they stay together.
struct Group<T, R> {
    rows: Vec<T>,
    bytes: usize,
    answer: oneshot::Sender<Vec<R>>,
}

impl<T: Send + 'static, R: Send + 'static> Batch<T, R> {
    /// Starts the writers on `tracker`; [`close`](Self::close) ends them.
    pub fn start(bounds: Bounds, commit: Commit<T, R>, tracker: &TaskTracker) -> Self {
        let queue = Queue { groups: VecDeque::new(), rows: 0, bytes: 0, closed: false };
        let queue = Mutex::new(queue);
        let shared = Arc::new(Shared { bounds, commit, queue, arrived: Notify::new() });
        for _ in 0..bounds.writers.max(1) {
            tracker.spawn(write(Arc::clone(&shared)));
        }
        Self { shared }
    }

    /// Puts `rows` into the batch that is open now and waits for its commit. The rows share one
    /// batch. `bytes` is what they weigh, roughly.
    ///
    /// Cancel safe in this sense: the rows are written wholly or not at all.
    ///
    /// # Errors
    /// [`BatchError`]; nothing was or will be written then, unless it is `Broken`.
    pub async fn submit(&self, rows: Vec<T>, bytes: usize) -> Result<Vec<R>, BatchError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, answered) = oneshot::channel();
        {
            let mut queue = self.shared.lock();
            if queue.closed {
                return Err(BatchError::Closed);
            }
            if !queue.has_room(rows.len(), bytes, &self.shared.bounds) {
                return Err(BatchError::Full);
            }
            queue.push(Group { rows, bytes, answer });
        }
        self.shared.arrived.notify_one();
        answered.await.map_err(|_| BatchError::Broken)
    }

    /// Takes nothing new; what waits is still written, then the writers end.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_waiters();
        // A permit for a writer that is between its last look and its next wait.
        self.shared.arrived.notify_one();
    }
}

impl<T, R> Shared<T, R> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue<T, R>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch; `None` when nothing waits, with whether the end has come.
    fn take(&self) -> Result<Vec<Group<T, R>>, bool> {
        let mut queue = self.lock();
        let (mut rows, mut bytes) = (0, 0);
        let mut batch = Vec::new();
        while let Some(group) = queue.pop() {
            if group.answer.is_closed() {
                continue;
            }
            rows += group.rows.len();
            bytes += group.bytes;
            let over = rows > self.bounds.batch_rows_max || bytes > self.bounds.batch_bytes_max;
            if over && !batch.is_empty() {
                queue.unpop(group);
                break;
            }
            batch.push(group);
        }
        if batch.is_empty() { Err(queue.closed) } else { Ok(batch) }
    }
}

async fn write<T: Send + 'static, R: Send + 'static>(shared: Arc<Shared<T, R>>) {
    loop {
        let arrived = shared.arrived.notified();
        match shared.take() {
            Ok(batch) => {
                // Whatever did not fit is another writer's, if one is idle.
                shared.arrived.notify_one();
                commit(&shared, batch).await;
            }
            Err(true) => {
                shared.arrived.notify_one();
                return;
            }
            Err(false) => arrived.await,
        }
    }
}

async fn commit<T, R>(shared: &Shared<T, R>, batch: Vec<Group<T, R>>) {
    let mut rows = Vec::new();
    let mut callers = Vec::with_capacity(batch.len());
    for group in batch {
        callers.push((group.rows.len(), group.answer));
        rows.extend(group.rows);
    }
    metrics::histogram!("asyncflow_batch_rows", "point" => shared.bounds.name)
        .record(rows.len() as f64);
    // The panic is in the log already; without this the point would have lost its writer.
    let results = AssertUnwindSafe((shared.commit)(rows)).catch_unwind().await;
    let mut results = results.unwrap_or_default().into_iter();
    for (count, answer) in callers {
        let own: Vec<R> = results.by_ref().take(count).collect();
        // A caller without a result for each row is told that the point is broken.
        if own.len() == count {
            let _ = answer.send(own);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use tokio::sync::Semaphore;

    const BOUNDS: Bounds = Bounds {
        name: "test",
        writers: 1,
        batch_rows_max: 3,
        batch_bytes_max: 100,
        queue_rows_max: 5,
        queue_bytes_max: 50,
    };

    /// A point whose commits wait for permits and are recorded.
    struct Bench {
        batch: Batch<u32, u32>,
        tracker: TaskTracker,
        permits: Arc<Semaphore>,
        begun: Arc<Semaphore>,
        seen: Arc<Mutex<Vec<Vec<u32>>>>,
    }

    fn bench() -> Bench {
        let tracker = TaskTracker::new();
        let permits = Arc::new(Semaphore::new(0));
        let begun = Arc::new(Semaphore::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = (permits.clone(), begun.clone(), seen.clone());
        let commit: Commit<u32, u32> = Box::new(move |rows| {
            let (permits, begun, seen) = shared.clone();
            Box::pin(async move {
                begun.add_permits(1);
                permits.acquire().await.unwrap().forget();
                seen.lock().unwrap().push(rows.clone());
                rows.into_iter().map(|row| row * 10).collect()
            })
        });
        let batch = Batch::start(BOUNDS, commit, &tracker);
        Bench { batch, tracker, permits, begun, seen }
    }

    impl Bench {
        fn call(&self, rows: Vec<u32>) -> tokio::task::JoinHandle<Result<Vec<u32>, BatchError>> {
            let batch = self.batch.clone();
            tokio::spawn(async move { batch.submit(rows, 1).await })
        }

        async fn commit_begun(&self) {
            self.begun.acquire().await.unwrap().forget();
        }

        async fn queued(&self, rows: usize) {
            while self.batch.shared.lock().rows != rows {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn calls_that_arrive_during_a_commit_share_the_next_one() {
        let bench = bench();
        let first = bench.call(vec![1]);
        bench.commit_begun().await;
        let second = bench.call(vec![2]);
        bench.queued(1).await;
        let third = bench.call(vec![3, 4]);
        bench.queued(3).await;
        let fourth = bench.call(vec![5]);
        bench.queued(4).await;
        bench.permits.add_permits(3);
        assert_eq!(first.await.unwrap(), Ok(vec![10]));
        assert_eq!(second.await.unwrap(), Ok(vec![20]));
        assert_eq!(third.await.unwrap(), Ok(vec![30, 40]));
        assert_eq!(fourth.await.unwrap(), Ok(vec![50]));
        assert_eq!(*bench.seen.lock().unwrap(), [vec![1], vec![2, 3, 4], vec![5]]);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_caller_that_left_frees_its_place() {
        let bench = bench();
        let first = bench.call(vec![1]);
        bench.commit_begun().await;
        let leaving = bench.call(vec![2, 3, 4]);
        bench.queued(3).await;
        assert_eq!(bench.batch.submit(vec![5, 6, 7], 1).await, Err(BatchError::Full));
        leaving.abort();
        assert!(leaving.await.unwrap_err().is_cancelled());
        bench.permits.add_permits(2);
        assert_eq!(first.await.unwrap(), Ok(vec![10]));
        assert_eq!(bench.batch.submit(vec![8], 1).await, Ok(vec![80]));
        assert_eq!(*bench.seen.lock().unwrap(), [vec![1], vec![8]]);
    }

    #[tokio::test]
    async fn bytes_fill_a_queue_as_well_as_rows() {
        let bench = bench();
        let first = bench.call(vec![1]);
        bench.commit_begun().await;
        let second = bench.call(vec![2]);
        bench.queued(1).await;
        assert_eq!(bench.batch.submit(vec![3], 50).await, Err(BatchError::Full));
        bench.permits.add_permits(3);
        assert_eq!(first.await.unwrap(), Ok(vec![10]));
        assert_eq!(second.await.unwrap(), Ok(vec![20]));
        assert_eq!(bench.batch.submit(vec![4], 1_000).await, Ok(vec![40]), "it waits alone");
        assert_eq!(bench.batch.shared.lock().bytes, 0);
    }

    #[tokio::test]
    async fn a_commit_that_panics_fails_its_callers_only() {
        let tracker = TaskTracker::new();
        let commit: Commit<u32, u32> = Box::new(|rows| {
            Box::pin(async move {
                assert!(rows != [1], "boom");
                rows
            })
        });
        let batch = Batch::start(BOUNDS, commit, &tracker);
        assert_eq!(batch.submit(vec![1], 1).await, Err(BatchError::Broken));
        assert_eq!(batch.submit(vec![2], 1).await, Ok(vec![2]));
        batch.close();
        tracker.close();
        tracker.wait().await;
    }

    #[tokio::test]
    async fn closing_writes_what_waits_and_ends_the_writers() {
        let bench = bench();
        let first = bench.call(vec![1]);
        bench.commit_begun().await;
        let second = bench.call(vec![2]);
        bench.queued(1).await;
        bench.batch.close();
        assert_eq!(bench.batch.submit(vec![3], 1).await, Err(BatchError::Closed));
        bench.permits.add_permits(2);
        bench.tracker.close();
        bench.tracker.wait().await;
        assert_eq!(first.await.unwrap(), Ok(vec![10]));
        assert_eq!(second.await.unwrap(), Ok(vec![20]));
    }
}
