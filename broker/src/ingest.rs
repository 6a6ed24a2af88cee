//! Group commit in: creates that arrive while a batch commits form the next one.

use asyncflow_store::{Backend, Create, InsertError, Inserted, Store};
use tokio_util::task::TaskTracker;

use crate::{
    batch::{Batch, BatchError, Bounds},
    config::LimitsConfig,
    dispatch::Dispatch,
};

/// Most bytes in one transaction, below MySQL's smallest `max_allowed_packet`.
pub const BATCH_BYTES_MAX: usize = 8 << 20;
/// What a row weighs besides its payload and context.
const ROW_BYTES: usize = 512;

pub type InsertResult = Result<Inserted, InsertError>;

/// Where creates join the batch that is open now; clones share it.
#[derive(Clone)]
pub struct Ingest {
    batch: Batch<Create, InsertResult>,
}

impl Ingest {
    pub fn start(
        store: Store,
        dispatch: Dispatch,
        limits: &LimitsConfig,
        tracker: &TaskTracker,
    ) -> Self {
        let bounds = Bounds {
            name: "ingest",
            writers: writers(&store),
            batch_rows_max: limits.batch_rows_max,
            batch_bytes_max: BATCH_BYTES_MAX,
            queue_rows_max: limits.queue_rows_max,
            queue_bytes_max: limits.queue_bytes_max,
        };
        let commit = Box::new(move |rows: Vec<Create>| {
            let (store, dispatch) = (store.clone(), dispatch.clone());
            Box::pin(async move {
                let offer = dispatch.offer(&rows);
                let mut answers = store.insert_for(rows, offer.handover()).await;
                let new = answers.iter_mut().flatten();
                offer.close(new.filter_map(|new| new.handed.take()));
                let created = answers.iter().flatten().filter(|new| !new.deduplicated);
                dispatch.note(created.map(|new| &new.task));
                answers
            }) as _
        });
        Self { batch: Batch::start(bounds, commit, tracker) }
    }

    /// Creates tasks in one transaction; the answers are in their order.
    ///
    /// # Errors
    /// When the queue is full or closed; nothing was written then.
    pub async fn create(&self, tasks: Vec<Create>) -> Result<Vec<InsertResult>, BatchError> {
        let weigh = |create: &Create| {
            ROW_BYTES + create.new.payload.data.len() + create.new.context.data.len()
        };
        let bytes = tasks.iter().map(weigh).sum();
        self.batch.submit(tasks, bytes).await
    }

    pub fn close(&self) {
        self.batch.close();
    }
}

/// SQLite has one writer; elsewhere the next batch is sent while one commits.
pub fn writers(store: &Store) -> usize {
    if store.backend() == Backend::Sqlite { 1 } else { 2 }
}
