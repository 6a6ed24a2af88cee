//! Ways to claim, against each other: the store alone, without gRPC. Several claimers take a
//! backlog of one type in claims of 100, each behind its own marks, as brokers do.
//!
//! - *locked*: candidates are locked when they are read, those of others are passed over,
//! - *compared*: they are read without locks, and the write is compared with what was read,
//! - *compared, apart*: the same, and every claimer begins at a place of its own in the backlog, so
//!   that they meet only where one comes to what another has begun with,
//! - *in turns*: compared, and one at a time: what a lock between brokers would give if it cost
//!   nothing,
//! - *by the Redis lock*: compared, and one at a time by the lock that brokers can share. It is
//!   taken for each claim, and who finds it taken tries again after a short random pause.

mod turns;

use crate::{clock::Stopwatch, error::BenchError, limits, record::Records, target::Target};
use asyncflow_core::{
    id::{ShardId, TypeName},
    task_type::TaskType,
};
use asyncflow_store::{Backend, ClaimRequest, Claimed, Mark, Store, StoreOptions, Taker};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Mutex, task::JoinSet};
use turns::Turns;

const BACKLOG: usize = 20_000;
const CLAIM: u32 = 100;
const INSERT: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Locked,
    Compared,
    Apart,
    InTurns,
    RedisLock,
}

const WAYS: [(Way, usize); 9] = [
    (Way::Locked, 1),
    (Way::Compared, 1),
    (Way::Locked, 4),
    (Way::Compared, 4),
    (Way::Apart, 4),
    (Way::InTurns, 4),
    (Way::RedisLock, 4),
    (Way::Locked, 8),
    (Way::InTurns, 8),
];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Compared => "compared",
            Self::Apart => "compared, apart",
            Self::InTurns => "in turns",
            Self::RedisLock => "by the Redis lock",
        }
    }

    /// SQLite is for one broker, which shares no lock with others.
    fn is_for(self, backend: Backend) -> bool {
        self != Self::RedisLock || backend != Backend::Sqlite
    }

    async fn turns(self, target: &Target) -> Result<Turns, BenchError> {
        match self {
            Self::Locked | Self::Compared | Self::Apart => Ok(Turns::Free),
            Self::InTurns => Ok(Turns::InProcess(Mutex::default())),
            Self::RedisLock => Turns::by_redis(target).await,
        }
    }

    /// Where a claimer begins; in a shard without a mark, at its start.
    fn begin(self, backlog: &[Place], claimer: usize, claimers: usize) -> BTreeMap<ShardId, Mark> {
        let ahead = if self == Self::Apart { backlog.len() * claimer / claimers } else { 0 };
        backlog[..ahead].last().cloned().into_iter().collect()
    }
}

/// Where a task stands.
type Place = (ShardId, Mark);

pub async fn measure(target: &Target, records: &mut Records) -> Result<(), BenchError> {
    let store = Store::connect(&StoreOptions::new(target.database_url())).await?;
    for (at, (way, claimers)) in WAYS.into_iter().enumerate() {
        if !way.is_for(store.backend()) {
            continue;
        }
        let name = TypeName::new(&format!("ways_{at}")).map_err(other)?;
        let turns = Arc::new(way.turns(target).await?);
        run(&store, name, (way, claimers), &turns, records).await?;
        turns.close().await;
    }
    store.close().await;
    Ok(())
}

/// A backlog of a type of its own, claimed in one way.
async fn run(
    store: &Store,
    name: TypeName,
    (way, claimers): (Way, usize),
    turns: &Arc<Turns>,
    records: &mut Records,
) -> Result<(), BenchError> {
    let task_type = Arc::new(store.ensure_type(&name).await?);
    let backlog = fill(store, &task_type).await?;
    let begun = Stopwatch::start();
    let mut working = JoinSet::new();
    for at in 0..claimers {
        let claimer = Claimer {
            store: store.clone(),
            task_type: name.clone(),
            session_id: i64::try_from(at).map_err(other)? + 1,
            is_alone: way != Way::Locked,
            turns: Arc::clone(turns),
        };
        working.spawn(claimer.take_all(way.begin(&backlog, at, claimers)));
    }
    let mut taken = Taken::default();
    while let Some(ended) = working.join_next().await {
        taken.add(ended.map_err(other)??);
    }
    let took = begun.elapsed();
    let Taken { mut spans, count, claims, contended } = taken;
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
    if way != Way::Locked && claimers > 1 {
        let share = contended as f64 / claims as f64 * 100.0;
        records.add(&format!("{measure}, contended"), "% of claims", share)?;
    }
    Ok(())
}

/// What claimers got.
#[derive(Default)]
struct Taken {
    /// Of claims that got something, how long each took, its turn included.
    spans: Vec<Duration>,
    count: usize,
    claims: usize,
    /// Claims that were repeated because somebody else had written what they had read.
    contended: usize,
}

impl Taken {
    fn add(&mut self, other: Self) {
        self.spans.extend(other.spans);
        self.count += other.count;
        self.claims += other.claims;
        self.contended += other.contended;
    }
}

/// One of those who claim at the same time.
struct Claimer {
    store: Store,
    task_type: TypeName,
    session_id: i64,
    is_alone: bool,
    turns: Arc<Turns>,
}

impl Claimer {
    /// Claims until there is nothing left behind its marks nor before them.
    async fn take_all(self, mut marks: BTreeMap<ShardId, Mark>) -> Result<Taken, BenchError> {
        let mut taken = Taken::default();
        loop {
            let taker = Taker {
                worker_id: "bench".into(),
                session_id: self.session_id,
                acquire_id: String::new(),
                want: CLAIM,
                lease_ttl_ms: None,
                takes_only_commands: false,
            };
            let is_full_look = marks.is_empty();
            let request = ClaimRequest {
                task_type: self.task_type.clone(),
                limit: CLAIM,
                takers: vec![taker],
                is_alone: self.is_alone,
                bytes_max: usize::MAX,
                after: std::mem::take(&mut marks),
                handout_ttl_ms: 600_000,
            };
            let (claimed, span) = self.claim(&request).await?;
            let got = claimed.leased.len();
            taken.claims += 1;
            taken.contended += usize::from(claimed.was_contended);
            if got == 0 && is_full_look {
                return Ok(taken);
            }
            if got > 0 {
                taken.spans.push(span);
                marks = request.after;
                marks.extend(claimed.marks);
            }
            taken.count += got;
        }
    }

    /// One claim when it is its turn, and how long both took. To give a turn back takes time too,
    /// which only the next claim waits for.
    async fn claim(&self, request: &ClaimRequest) -> Result<(Claimed, Duration), BenchError> {
        let watch = Stopwatch::start();
        let turn = self.turns.take(&self.task_type).await?;
        let claimed = self.store.claim(request).await?;
        let span = watch.elapsed();
        turn.give_back().await;
        Ok((claimed, span))
    }
}

/// Creates the backlog, and says where its tasks stand, in the order in which they are claimed.
async fn fill(store: &Store, task_type: &Arc<TaskType>) -> Result<Vec<Place>, BenchError> {
    let mut places = Vec::with_capacity(BACKLOG);
    for _ in 0..BACKLOG / INSERT {
        let rows = (0..INSERT).map(|_| limits::row(task_type)).collect();
        for inserted in store.insert(rows).await {
            let task = inserted.map_err(other)?.task;
            places.push((task.id.shard, (task.order_time_ms, task.id.key)));
        }
    }
    places.sort_unstable();
    Ok(places)
}

fn other(error: impl std::fmt::Display) -> BenchError {
    BenchError::Other(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Place, Way};
    use asyncflow_core::id::{IdError, ShardId, TypeName};

    #[test]
    fn who_begins_apart_begins_at_even_distances() -> Result<(), IdError> {
        let shard = ShardId { task_type: TypeName::new("ways")?, number: 1 };
        let backlog: Vec<Place> = (0..8).map(|key| (shard.clone(), (5, key))).collect();
        let marks = |way: Way| -> Vec<Option<i64>> {
            let begins = (0..4).map(|claimer| way.begin(&backlog, claimer, 4));
            begins.map(|marks| marks.get(&shard).map(|(_, key)| *key)).collect()
        };
        // Behind these keys: the first claimer begins at the start, as all others do elsewhere.
        assert_eq!(marks(Way::Apart), [None, Some(1), Some(3), Some(5)]);
        assert_eq!(marks(Way::Compared), [None; 4]);
        Ok(())
    }
}
