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

use super::{Parts, write::insert_tasks};
use crate::{Store, clock::monotonic, error::StoreError, ledger::Ledger};

/// A batch that took longer than this may meet a shard that was drained, and archived, meanwhile.
const LATE: Duration = Duration::from_secs(1);

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
    Created(Box<Task>),
    /// The request was known.
    Known {
        id: TaskId,
        same: bool,
    },
}

/// The shard that a task goes into, and the task.
type Member = (ShardId, Create);

struct Request {
    tasks: Vec<Member>,
    /// When it was looked where they go.
    placed: Instant,
    now_ms: i64,
    runs: AtomicU32,
}

impl Store {
    /// Creates tasks, all in one transaction; the answers are in the order of `tasks`. A task that
    /// the database refuses does not keep the others from being created.
    ///
    /// Cancel safe, but the outcome is then unknown: repeat it with the same request ids.
    pub async fn insert(&self, tasks: Vec<Create>) -> Vec<Result<Inserted, InsertError>> {
        let placed = monotonic();
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
        let mut inserted = self.insert_ready(ready, placed).await.into_iter();
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
        placed: Instant,
    ) -> Vec<Result<Inserted, InsertError>> {
        if tasks.is_empty() {
            return Vec::new();
        }
        match self.insert_batch(tasks.clone(), placed).await {
            Ok(outcomes) => self.answer(outcomes).await,
            Err(StoreError::NoSuchTable(_)) if !self.is_off("insert.looks_again") => {
                self.insert_afresh(tasks).await
            }
            Err(error) if error.may_be_one_row() && tasks.len() > 1 => {
                let mut answers = Vec::with_capacity(tasks.len());
                for task in tasks {
                    match self.insert_batch(vec![task], placed).await {
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
        match self.insert_batch(again, placed).await {
            Ok(outcomes) => self.answer(outcomes).await,
            Err(error) => vec![Err(error.exhausted().into()); count],
        }
    }

    async fn insert_batch(
        &self,
        tasks: Vec<Member>,
        placed: Instant,
    ) -> Result<Vec<Outcome>, StoreError> {
        let now_ms = self.now_ms().await?;
        let request = Request { tasks, placed, now_ms, runs: AtomicU32::new(0) };
        self.transact(&request, |store, tx, request| Box::pin(insert_once(store, tx, request)))
            .await
    }

    async fn answer(&self, outcomes: Vec<Outcome>) -> Vec<Result<Inserted, InsertError>> {
        let mut answers = Vec::with_capacity(outcomes.len());
        self.announce(outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Created(task) => Some(&**task),
            Outcome::Known { .. } => None,
        }));
        for outcome in outcomes {
            answers.push(match outcome {
                Outcome::Created(task) => Ok(Inserted { task: *task, deduplicated: false }),
                Outcome::Known { id, same } => self.known(id, same).await,
            });
        }
        answers
    }

    async fn known(&self, task_id: TaskId, same: bool) -> Result<Inserted, InsertError> {
        if !same {
            return Err(InsertRefusal::RequestIdReused { task_id }.into());
        }
        let expired = match self.get(&task_id, Parts::NONE).await {
            Ok(full) => return Ok(Inserted { task: full.task, deduplicated: true }),
            Err(super::GetError::Store(error)) => return Err(error.into()),
            Err(super::GetError::NotFound) => None,
            Err(super::GetError::Expired { archive }) => Some(archive),
        };
        Err(InsertRefusal::Gone { task_id, expired }.into())
    }

    /// The task that a request made: for reading back after an unknown outcome.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find_request(
        &self,
        user: &str,
        request_id: &str,
    ) -> Result<Option<TaskId>, StoreError> {
        let mut sql = self.sql("SELECT task_id FROM request_dedup WHERE user_name = ");
        sql.bind(user).push(" AND request_id = ").bind(request_id);
        let row = sql.one(self.reader()).await?;
        row.map(|row| parse_id(row.try_get_by_index(0)?)).transpose()
    }
}

fn parse_id(text: String) -> Result<TaskId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("the task id {text:?}")))
}

async fn insert_once(
    store: &Store,
    tx: &DatabaseTransaction,
    request: &Request,
) -> Result<Vec<Outcome>, StoreError> {
    // A repetition may be due to another node with our number.
    if request.runs.fetch_add(1, Ordering::Relaxed) > 0 {
        *store.keys().lock().unwrap_or_else(PoisonError::into_inner) =
            KeyGenerator::new(rand::random());
    }
    let mut known = known_requests(store, tx, &request.tasks).await?;
    let mut outcomes = Vec::with_capacity(request.tasks.len());
    let mut created: BTreeMap<&ShardId, Vec<FullTask>> = BTreeMap::new();
    let mut requests = BTreeMap::new();
    for (shard, Create { new, task_type }) in &request.tasks {
        let digest = digest::new_task(new);
        let of = new.request_id.as_deref().map(|request_id| (new.user.as_str(), request_id));
        if let Some((first, id)) = of.and_then(|of| known.get(&of)) {
            let same = *first == digest;
            outcomes.push(Outcome::Known { id: id.clone(), same });
            continue;
        }
        let key = {
            let mut keys = store.keys().lock().unwrap_or_else(PoisonError::into_inner);
            keys.next_key(request.now_ms)
        };
        let id = TaskId { shard: shard.clone(), key };
        let full = new.clone().into_task(task_type, id, request.now_ms);
        if let Some(of) = of {
            known.insert(of, (digest, full.task.id.clone()));
            requests.insert(of, (digest, full.task.id.to_string()));
        }
        outcomes.push(Outcome::Created(Box::new(full.task.clone())));
        created.entry(shard).or_default().push(full);
    }
    let mut ledger = Ledger::default();
    for (shard, tasks) in &created {
        tasks.iter().for_each(|full| ledger.created(&full.task));
        insert_tasks(store, tx, shard, &tasks.iter().collect::<Vec<_>>()).await?;
        let is_late = monotonic().duration_since(request.placed) > LATE;
        if is_late && !store.is_off("insert.reopens") {
            store.reopen(tx, shard, request.now_ms).await?;
        }
    }
    if !requests.is_empty() {
        let mut sql = store.sql(
            "INSERT INTO request_dedup (user_name, request_id, digest, task_id, create_time_ms) \
             VALUES ",
        );
        sql.rows(requests.into_iter().map(|((user, request_id), (digest, id))| {
            vec![user.into(), request_id.into(), digest.into(), id.into(), request.now_ms.into()]
        }));
        sql.run(tx).await?;
    }
    ledger.write(store, tx, request.now_ms).await?;
    Ok(outcomes)
}

type Requests<'a> = HashMap<(&'a str, &'a str), (i64, TaskId)>;

/// Which of the batch's requests were made before, one SELECT per user.
async fn known_requests<'a>(
    store: &Store,
    tx: &DatabaseTransaction,
    tasks: &'a [Member],
) -> Result<Requests<'a>, StoreError> {
    let mut by_user: BTreeMap<&str, BTreeMap<&str, ()>> = BTreeMap::new();
    for (_, Create { new, .. }) in tasks {
        if let Some(request_id) = &new.request_id {
            by_user.entry(&new.user).or_default().insert(request_id, ());
        }
    }
    let mut known = HashMap::new();
    if store.is_off("insert.knows_requests") {
        return Ok(known);
    }
    for (user, asked) in by_user {
        let ids: Vec<&str> = asked.keys().copied().collect();
        let mut sql = store.sql("SELECT request_id, digest, task_id FROM request_dedup WHERE ");
        sql.push("user_name = ").bind(user).push(" AND ").is_in("request_id", &ids);
        for row in sql.all(tx).await? {
            let request_id: String = row.try_get_by_index(0)?;
            let id = parse_id(row.try_get_by_index(2)?)?;
            if let Some((asked, ())) = asked.get_key_value(request_id.as_str()) {
                known.insert((user, *asked), (row.try_get_by_index(1)?, id));
            }
        }
    }
    Ok(known)
}
