//! Ways to claim, against each other: the store alone, without gRPC. Several claimers take a
//! backlog of one type in claims of 100, each behind its own marks, as brokers do.
//!
//! - *locked*: candidates are locked when they are read, those of others are passed over,
//! - *compared*: they are read without locks, and the write is compared with what was read,
//! - *in turns*: compared, and one at a time: what a lock between brokers would give if it cost
//!   nothing.

use crate::{clock::Stopwatch, error::BenchError, limits, record::Records, target::Target};
use asyncflow_core::{id::TypeName, task_type::TaskType};
use asyncflow_store::{ClaimRequest, Store, StoreOptions, Taker};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Mutex, task::JoinSet};

const BACKLOG: usize = 20_000;
const CLAIM: u32 = 100;
const INSERT: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Locked,
    Compared,
    InTurns,
}

const WAYS: [(Way, usize); 7] = [
    (Way::Locked, 1),
    (Way::Compared, 1),
    (Way::Locked, 4),
    (Way::Compared, 4),
    (Way::InTurns, 4),
    (Way::Locked, 8),
    (Way::InTurns, 8),
];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Compared => "compared",
            Self::InTurns => "in turns",
        }
    }
}

pub async fn measure(target: &Target, records: &mut Records) -> Result<(), BenchError> {
    let store = Store::connect(&StoreOptions::new(target.database_url())).await?;
    for (at, (way, claimers)) in WAYS.into_iter().enumerate() {
        let name = TypeName::new(&format!("ways_{at}")).map_err(other)?;
        let task_type = Arc::new(store.ensure_type(&name).await?);
        fill(&store, &task_type).await?;
        let turn = Arc::new(Mutex::new(()));
        let begun = Stopwatch::start();
        let mut working = JoinSet::new();
        for claimer in 0..claimers {
            let claimer = Claimer {
                store: store.clone(),
                task_type: name.clone(),
                session_id: i64::try_from(claimer).map_err(other)? + 1,
                way,
                turn: turn.clone(),
            };
            working.spawn(claimer.take_all());
        }
        let (mut spans, mut count) = (Vec::new(), 0);
        while let Some(ended) = working.join_next().await {
            let (own, got) = ended.map_err(other)??;
            spans.extend(own);
            count += got;
        }
        let took = begun.elapsed();
        if count != BACKLOG {
            return Err(BenchError::Other(format!("{count} of {BACKLOG} claimed by {way:?}")));
        }
        spans.sort_unstable();
        let measure = format!("claims of {CLAIM} by {claimers}, {}", way.name());
        records.add(&measure, "tasks/s", count as f64 / took.as_secs_f64())?;
        for (quantile, label) in [(0.5, "p50"), (0.99, "p99")] {
            let span = spans[((spans.len() - 1) as f64 * quantile) as usize];
            records.add(&format!("{measure}, {label}"), "ms", span.as_secs_f64() * 1_000.0)?;
        }
    }
    store.close().await;
    Ok(())
}

/// One of those who claim at the same time.
struct Claimer {
    store: Store,
    task_type: TypeName,
    session_id: i64,
    way: Way,
    turn: Arc<Mutex<()>>,
}

impl Claimer {
    /// Claims until there is nothing left behind its marks nor before them: how long each claim
    /// took, its turn included, and how many tasks it got.
    async fn take_all(self) -> Result<(Vec<Duration>, usize), BenchError> {
        let (mut spans, mut count, mut marks) = (Vec::new(), 0, BTreeMap::new());
        loop {
            let taker = Taker {
                worker_id: "bench".into(),
                session_id: self.session_id,
                acquire_id: String::new(),
                want: CLAIM,
                lease_ttl_ms: None,
            };
            let is_full_look = marks.is_empty();
            let request = ClaimRequest {
                task_type: self.task_type.clone(),
                limit: CLAIM,
                takers: vec![taker],
                is_alone: self.way != Way::Locked,
                bytes_max: usize::MAX,
                after: std::mem::take(&mut marks),
                handout_ttl_ms: 600_000,
            };
            let watch = Stopwatch::start();
            let claimed = match self.way {
                Way::InTurns => {
                    let _turn = self.turn.lock().await;
                    self.store.claim(&request).await?
                }
                Way::Locked | Way::Compared => self.store.claim(&request).await?,
            };
            let got = claimed.leased.len();
            if got == 0 && is_full_look {
                return Ok((spans, count));
            }
            if got > 0 {
                spans.push(watch.elapsed());
                marks = request.after;
                marks.extend(claimed.marks);
            }
            count += got;
        }
    }
}

async fn fill(store: &Store, task_type: &Arc<TaskType>) -> Result<(), BenchError> {
    for _ in 0..BACKLOG / INSERT {
        let rows = (0..INSERT).map(|_| limits::row(task_type)).collect();
        for inserted in store.insert(rows).await {
            inserted.map_err(other)?;
        }
    }
    Ok(())
}

fn other(error: impl std::fmt::Display) -> BenchError {
    BenchError::Other(error.to_string())
}
