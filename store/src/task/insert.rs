//! Inserts tasks: one transaction for everybody who joined the batch.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use asyncflow_core::{
    create::NewTask,
    digest,
    id::{KeyGenerator, ShardId, TaskId, TypeName},
    task::{FullTask, Task},
    task_type::TaskType,
};
use sea_orm::DatabaseTransaction;

use super::{
    Parts, acquires,
    handover::{Handover, Made},
    requests,
    write::insert_tasks,
};
use crate::{Store, clock::monotonic, error::StoreError, ledger::Ledger};

/// A batch that took longer than this may meet a shard that was drained, and archived, meanwhile.
pub(crate) const LATE: Duration = Duration::from_secs(1);

/// A task to be created: checked input and the type whose defaults and limits hold.
#[derive(Clone, Debug)]
pub struct Create {
    pub new: NewTask,
    pub task_type: Arc<TaskType>,
}

/// A created task, or the one that an earlier call with the same request made.
#[derive(Clone, Debug, PartialEq)]
pub struct Inserted {
    pub task: Task,
    pub deduplicated: bool,
    /// Who was handed the task when it was created.
    pub handed: Option<Handed>,
}

/// A task that was handed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Handed {
    /// Index into the takers.
    pub taker: usize,
    pub task: FullTask,
}

/// Why a task of the batch was not created although the database is well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertRefusal {
    /// The request id was used for other content.
    #[error("the request id was already used for task {task_id}")]
    RequestIdReused { task_id: TaskId },
    /// This very request made a task that was deleted since, or went with its shard: then where the
    /// manifest of its archive is, or empty.
    #[error("the request made the task {task_id}, which is gone")]
    Gone { task_id: TaskId, expired: Option<String> },
}

/// Why a task of the batch was not created.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InsertError {
    #[error(transparent)]
    Refused(#[from] InsertRefusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a member of the batch inside the transaction.
enum Outcome {
    Created(Box<Made>),
    /// The request was known.
    Known {
        id: TaskId,
        same: bool,
    },
}

impl Outcome {
    fn made(&self) -> Option<&Made> {
        match self {
            Self::Created(made) => Some(made),
            Self::Known { .. } => None,
        }
    }
}

/// The shard that a task goes into, and the task.
type Member = (ShardId, Create);

/// What goes with the tasks of a batch.
#[derive(Clone, Copy)]
struct With<'a> {
    /// When it was looked where they go.
    placed: Instant,
    handover: &'a Handover,
}

struct Request<'a> {
    tasks: Vec<Member>,
    with: With<'a>,
    now_ms: i64,
    runs: AtomicU32,
}

impl Store {
    /// Creates tasks, all in one transaction; the answers are in the order of `tasks`. A task that
    /// the database refuses does not keep the others from being created.
    ///
    /// Cancel safe, but the outcome is then unknown: repeat it with the same request ids.
    pub async fn insert(&self, tasks: Vec<Create>) -> Vec<Result<Inserted, InsertError>> {
        Box::pin(self.insert_for(tasks, &Handover::default())).await
    }

    /// The same for workers who wait: tasks that are ready are theirs as soon as they are created.
    pub async fn insert_for(
        &self,
        tasks: Vec<Create>,
        handover: &Handover,
    ) -> Vec<Result<Inserted, InsertError>> {
        let with = With { placed: monotonic(), handover };
        let shards = self.open_shards(&tasks).await;
        self.fault_point("insert.placed").await;
        let mut answers: Vec<Option<Result<Inserted, InsertError>>> = Vec::new();
        let mut ready = Vec::with_capacity(tasks.len());
        for task in tasks {
            let shard = shards.get(&task.new.task_type).cloned();
            match shard.unwrap_or(Err(StoreError::NoSuchShard)) {
                Ok(shard) => {
                    answers.push(None);
                    ready.push((shard, task));
                }
                Err(error) => answers.push(Some(Err(error.into()))),
            }
        }
        let mut inserted = self.insert_ready(ready, with).await.into_iter();
        let lost = || Err(StoreError::Corrupt("a batch lost a member".into()).into());
        (answers.into_iter())
            .map(|answer| answer.unwrap_or_else(|| inserted.next().unwrap_or_else(lost)))
            .collect()
    }

    async fn open_shards(
        &self,
        tasks: &[Create],
    ) -> HashMap<TypeName, Result<ShardId, StoreError>> {
        let mut shards = HashMap::new();
        for task in tasks {
            let task_type = &task.new.task_type;
            if !shards.contains_key(task_type) {
                shards.insert(task_type.clone(), self.open_shard(task_type).await);
            }
        }
        shards
    }

    async fn insert_ready(
        &self,
        tasks: Vec<Member>,
        with: With<'_>,
    ) -> Vec<Result<Inserted, InsertError>> {
        if tasks.is_empty() {
            return Vec::new();
        }
        match self.insert_batch(tasks.clone(), with).await {
            Ok(outcomes) => self.answer(outcomes).await,
            Err(StoreError::NoSuchTable(_)) if !self.is_off("insert.looks_again") => {
                self.insert_afresh(tasks).await
            }
            Err(error) if error.may_be_one_row() && tasks.len() > 1 => {
                let mut answers = Vec::with_capacity(tasks.len());
                for task in tasks {
                    // A taker would take as much of each.
                    let with = With { handover: &Handover::default(), ..with };
                    match self.insert_batch(vec![task], with).await {
                        Ok(outcomes) => answers.extend(self.answer(outcomes).await),
                        Err(error) => answers.push(Err(error.exhausted().into())),
                    }
                }
                answers
            }
            Err(error) => tasks.iter().map(|_| Err(error.clone().into())).collect(),
        }
    }

    /// The open shard was dropped behind our back: look again, once.
    async fn insert_afresh(&self, tasks: Vec<Member>) -> Vec<Result<Inserted, InsertError>> {
        let placed = monotonic();
        let mut again = Vec::with_capacity(tasks.len());
        for (_, task) in &tasks {
            self.shard_cache().forget(&task.new.task_type);
        }
        for (old, task) in tasks {
            again.push((self.open_shard(&task.new.task_type).await.unwrap_or(old), task));
        }
        let count = again.len();
        let with = With { placed, handover: &Handover::default() };
        match self.insert_batch(again, with).await {
            Ok(outcomes) => self.answer(outcomes).await,
            Err(error) => vec![Err(error.exhausted().into()); count],
        }
    }

    async fn insert_batch(
        &self,
        tasks: Vec<Member>,
        with: With<'_>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let now_ms = self.now_ms().await?;
        let request = Request { tasks, with, now_ms, runs: AtomicU32::new(0) };
        self.transact(&request, |store, tx, request| Box::pin(insert_once(store, tx, request)))
            .await
    }

    async fn answer(&self, outcomes: Vec<Outcome>) -> Vec<Result<Inserted, InsertError>> {
        self.fault_point("insert.committed").await;
        let mut answers = Vec::with_capacity(outcomes.len());
        let tasks = || outcomes.iter().filter_map(Outcome::made).map(|made| &made.full.task);
        self.leases().note(tasks());
        self.announce(tasks());
        for outcome in outcomes {
            answers.push(match outcome {
                Outcome::Created(made) => Ok(created(*made)),
                Outcome::Known { id, same } => self.known(id, same).await,
            });
        }
        answers
    }

    pub(crate) async fn known(&self, task_id: TaskId, same: bool) -> Result<Inserted, InsertError> {
        if !same {
            return Err(InsertRefusal::RequestIdReused { task_id }.into());
        }
        let expired = match self.get(&task_id, Parts::NONE).await {
            Ok(full) => {
                return Ok(Inserted { task: full.task, deduplicated: true, handed: None });
            }
            Err(super::GetError::Store(error)) => return Err(error.into()),
            Err(super::GetError::NotFound) => None,
            Err(super::GetError::Expired { archive }) => Some(archive),
        };
        Err(InsertRefusal::Gone { task_id, expired }.into())
    }
}

fn created(Made { full, taker }: Made) -> Inserted {
    let task = full.task.clone();
    Inserted { task, deduplicated: false, handed: taker.map(|taker| Handed { taker, task: full }) }
}

async fn insert_once(
    store: &Store,
    tx: &DatabaseTransaction,
    request: &Request<'_>,
) -> Result<Vec<Outcome>, StoreError> {
    // A repetition may be due to another node with our number.
    let is_repeated = request.runs.fetch_add(1, Ordering::Relaxed) > 0;
    if is_repeated {
        *store.keys().lock().unwrap_or_else(PoisonError::into_inner) =
            KeyGenerator::new(rand::random());
    }
    let mut known = requests::Requests::new();
    // Only a duplicate key tells that a request was made before, so only a repetition looks.
    if is_repeated && !store.is_off("insert.knows_requests") {
        let news = request.tasks.iter().map(|(_, create)| &create.new);
        known = requests::known(store, tx, news).await?;
    }
    let mut outcomes = Vec::with_capacity(request.tasks.len());
    let mut fresh = requests::Requests::new();
    for (shard, Create { new, task_type }) in &request.tasks {
        let digest = digest::new_task(new);
        let of = new.request_id.as_deref().map(|request_id| (new.user.as_str(), request_id));
        if let Some((first, id)) = of.and_then(|of| known.get(&of)) {
            let same = *first == digest;
            outcomes.push(Outcome::Known { id: id.clone(), same });
            continue;
        }
        let id = TaskId { shard: shard.clone(), key: store.next_key(request.now_ms) };
        let full = new.clone().into_task(task_type, id, request.now_ms);
        if let Some(of) = of {
            known.insert(of, (digest, full.task.id.clone()));
            fresh.insert(of, (digest, full.task.id.clone()));
        }
        outcomes.push(Outcome::Created(Box::new(Made { full, taker: None })));
    }
    requests::note(store, tx, fresh, request.now_ms).await?;
    let mut ledger = Ledger::default();
    outcomes.iter().filter_map(Outcome::made).for_each(|made| ledger.created(&made.full.task));
    hand_over(store, tx, request, &mut outcomes, &mut ledger, is_repeated).await?;
    let mut by_shard: BTreeMap<&ShardId, Vec<&FullTask>> = BTreeMap::new();
    for made in outcomes.iter().filter_map(Outcome::made) {
        by_shard.entry(&made.full.task.id.shard).or_default().push(&made.full);
    }
    for (shard, tasks) in &by_shard {
        insert_tasks(store, tx, shard, tasks).await?;
        let is_late = monotonic().duration_since(request.with.placed) > LATE;
        if is_late && !store.is_off("insert.reopens") {
            store.reopen(tx, shard, request.now_ms).await?;
        }
    }
    ledger.write(store, tx, request.now_ms).await?;
    store.fault_point("insert.written").await;
    Ok(outcomes)
}

async fn hand_over(
    store: &Store,
    tx: &DatabaseTransaction,
    Request { with: With { handover, .. }, now_ms, .. }: &Request<'_>,
    outcomes: &mut [Outcome],
    ledger: &mut Ledger,
    is_repeated: bool,
) -> Result<(), StoreError> {
    if handover.takers.is_empty() || store.is_off("insert.hands_over") {
        return Ok(());
    }
    let mut replays = Vec::new();
    // Only a duplicate key tells that an acquire id was used before, so only a repetition looks.
    if is_repeated {
        let takers = handover.takers.iter().map(|(_, taker)| taker);
        replays = acquires::replays(store, tx, takers).await?;
    }
    let made = outcomes.iter_mut().filter_map(|outcome| match outcome {
        Outcome::Created(made) => Some(&mut **made),
        Outcome::Known { .. } => None,
    });
    handover.deal(made, &replays, *now_ms, ledger);
    let taken = outcomes.iter().filter_map(Outcome::made);
    let got =
        taken.filter_map(|made| Some((&handover.takers[made.taker?].1, &made.full.task, None)));
    acquires::note(store, tx, got, *now_ms).await
}
