//! The model: what was done, what was acknowledged, and what must be true of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence, Settle},
    id::{ShardId, TaskId, TypeName},
    shard::ShardState,
    task::Task,
    task_type::TaskType,
};
use asyncflow_store::{
    ApplyError, ClaimRequest, CompareLimits, Compared, Create, DropTerms, GetError, LeaderFence,
    Parts, Store, StoreError, StoreOptions, Taker,
};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::task::JoinHandle;

const SESSION: i64 = 7;
const LEASE_MS: i64 = 600_000;
/// Processes that can be in the middle of something at the same time.
const ACTORS: usize = 3;
/// Rounds after which everything has come to its end.
const ROUNDS_MAX: usize = 10;

/// Something that is done. Numbers choose among what there is, modulo how much there is.
#[derive(Clone, Debug)]
pub enum Op {
    Create,
    Claim(u32),
    Complete(usize),
    Retry(usize),
    Roll,
    Drain,
    /// Of that shard; tasks that ended when that task did, or later, are kept.
    Drop(usize, Keep),
    /// One of them, stopped at that point.
    Stopped(Box<Op>, &'static str),
    GoOn(usize),
    Kill(usize),
    NewLeader,
}

#[derive(Clone, Copy, Debug)]
pub enum Keep {
    Nothing,
    Everything,
    From(usize),
}

/// Sequences of them.
pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    let keep = prop_oneof![
        3 => Just(Keep::Nothing),
        1 => Just(Keep::Everything),
        1 => (0..9_usize).prop_map(Keep::From),
    ];
    let drops = (0..4_usize, keep).prop_map(|(shard, keep)| Op::Drop(shard, keep));
    let stopped = prop_oneof![
        2 => Just((Op::Create, "insert.placed")),
        1 => select(&ROLL_POINTS).prop_map(|at| (Op::Roll, at)),
        2 => Just((Op::Drain, "drain.seen")),
        3 => (drops.clone(), select(&DROP_POINTS)),
    ];
    let op = prop_oneof![
        4 => Just(Op::Create),
        3 => (1..4_u32).prop_map(Op::Claim),
        4 => (0..9_usize).prop_map(Op::Complete),
        2 => (0..9_usize).prop_map(Op::Retry),
        2 => Just(Op::Roll),
        3 => Just(Op::Drain),
        2 => drops,
        4 => stopped.prop_map(|(op, at)| Op::Stopped(Box::new(op), at)),
        3 => (0..ACTORS).prop_map(Op::GoOn),
        1 => (0..ACTORS).prop_map(Op::Kill),
        1 => Just(Op::NewLeader),
    ];
    prop::collection::vec(op, 5..40)
}

const ROLL_POINTS: [&str; 3] = ["roll.registered", "roll.created", "roll.opened"];
const DROP_POINTS: [&str; 6] = [
    "drop.begun",
    "drop.renamed",
    "drop.allowed",
    "drop.emptied",
    "drop.one_table",
    "drop.dropped",
];

fn select(points: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(points)
}

/// What was acknowledged of a task.
#[derive(Clone, Debug)]
struct Known {
    /// When it ended, if it did.
    finish_ms: Option<i64>,
}

/// A process: its own view of the registry, and a place where it can be stopped.
struct Actor {
    store: Store,
    dir: TempDir,
    doing: Option<(JoinHandle<Done>, PathBuf)>,
}

/// What came of something that was stopped.
enum Done {
    Created(Option<Box<Task>>),
    Other,
}

pub struct World {
    url: String,
    store: Store,
    actors: Vec<Actor>,
    off: Vec<String>,
    _dir: TempDir,
    leader: i64,
    fence: LeaderFence,
    tasks: BTreeMap<TaskId, Known>,
    /// The latest time from which a drop of that shard was to keep tasks.
    dropped_before: BTreeMap<ShardId, i64>,
}

fn name() -> TypeName {
    TypeName::new("work").unwrap()
}

async fn connect(url: &str, dir: &TempDir, off: &[String]) -> Store {
    for guard in off {
        std::fs::write(dir.path().join(format!("{guard}.off")), "").unwrap();
    }
    let fault_dir = Some(dir.path().to_owned());
    let options = StoreOptions { fault_dir, max_connections: 3, ..StoreOptions::new(url) };
    Store::connect(&options).await.unwrap()
}

async fn lead(store: &Store, leader: i64) -> LeaderFence {
    store.try_lead(&format!("g{leader}"), -1).await.unwrap().unwrap()
}

impl World {
    pub async fn open(url: &str, guards_off: &[&str]) -> Self {
        let off: Vec<String> = guards_off.iter().map(|guard| (*guard).to_owned()).collect();
        let dir = tempfile::tempdir().unwrap();
        let store = connect(url, &dir, &off).await;
        store.migrate().await.unwrap();
        let mut actors = Vec::new();
        for _ in 0..ACTORS {
            let dir = tempfile::tempdir().unwrap();
            actors.push(Actor { store: connect(url, &dir, &off).await, dir, doing: None });
        }
        Self {
            url: url.to_owned(),
            fence: lead(&store, 0).await,
            store,
            actors,
            off,
            _dir: dir,
            leader: 0,
            tasks: BTreeMap::new(),
            dropped_before: BTreeMap::new(),
        }
    }

    /// Does it all, brings it to its end, and tells what was lost.
    pub async fn run(&mut self, ops: &[Op]) -> Result<(), String> {
        for op in ops {
            self.step(op).await?;
            self.check_all(false).await?;
        }
        for at in 0..ACTORS {
            self.end(at, false).await?;
        }
        self.come_to_an_end().await?;
        self.check_all(true).await?;
        self.check_counts().await
    }

    pub async fn close(self) {
        for actor in self.actors {
            actor.store.close().await;
        }
        self.store.close().await;
    }

    async fn step(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Create => {
                let task = create(&self.store).await.ok_or("a create failed")?;
                self.note(&task);
            }
            Op::Claim(want) => {
                claim(&self.store, *want).await?;
            }
            Op::Complete(at) => self.complete(*at).await?,
            Op::Retry(at) => self.retry(*at).await?,
            Op::Stopped(op, point) => self.stopped(op, point).await,
            Op::GoOn(at) => self.end(*at, true).await?,
            Op::Kill(at) => {
                self.end(*at, false).await?;
                self.new_leader().await;
            }
            Op::NewLeader => self.new_leader().await,
            Op::Roll | Op::Drain | Op::Drop(..) => {
                let (store, fence) = (self.store.clone(), self.fence.clone());
                let terms = self.terms(op).await;
                govern(&store, op, terms, &fence).await;
            }
        }
        Ok(())
    }

    async fn new_leader(&mut self) {
        self.leader += 1;
        self.fence = lead(&self.store, self.leader).await;
    }

    fn note(&mut self, task: &Task) {
        let known = Known { finish_ms: task.finish_time_ms };
        self.tasks.insert(task.id.clone(), known);
    }

    /// The shard of a drop, and what it keeps; noted for the check.
    async fn terms(&mut self, op: &Op) -> Option<(ShardId, DropTerms)> {
        let Op::Drop(at, keep) = op else { return None };
        let shards = self.store.list_shards(None).await.unwrap();
        let shard = shards.get(at % shards.len().max(1))?.id.clone();
        let ended: Vec<i64> = self.tasks.values().filter_map(|known| known.finish_ms).collect();
        let before_ms = match keep {
            Keep::Nothing => i64::MAX,
            Keep::Everything => 0,
            Keep::From(at) => ended.get(at % ended.len().max(1)).copied().unwrap_or_default(),
        };
        let latest = self.dropped_before.entry(shard.clone()).or_default();
        *latest = (*latest).max(before_ms);
        Some((shard, DropTerms { before_ms, archived: None }))
    }

    async fn stopped(&mut self, op: &Op, point: &str) {
        let Some(at) = self.actors.iter().position(|actor| actor.doing.is_none()) else { return };
        let terms = self.terms(op).await;
        let (op, fence) = (op.clone(), self.fence.clone());
        let actor = &mut self.actors[at];
        let stop = actor.dir.path().join(format!("{point}.stop"));
        let reached = stop.with_extension("reached");
        let _ = std::fs::remove_file(&reached);
        std::fs::write(&stop, "").unwrap();
        let store = actor.store.clone();
        let doing = tokio::spawn(async move {
            if matches!(op, Op::Create) {
                return Done::Created(create(&store).await.map(Box::new));
            }
            govern(&store, &op, terms, &fence).await;
            Done::Other
        });
        while !doing.is_finished() && !reached.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        actor.doing = Some((doing, stop));
    }

    /// Lets a process that was stopped go on to its end, or kills it where it stands.
    async fn end(&mut self, at: usize, goes_on: bool) -> Result<(), String> {
        let Some((doing, stop)) = self.actors[at].doing.take() else { return Ok(()) };
        if !goes_on {
            doing.abort();
        }
        std::fs::remove_file(stop).unwrap();
        match doing.await {
            Ok(Done::Created(Some(task))) => self.note(&task),
            Ok(Done::Created(None)) => return Err("a create with an old view failed".into()),
            Ok(Done::Other) | Err(_) => {}
        }
        Ok(())
    }

    async fn complete(&mut self, at: usize) -> Result<(), String> {
        let ids: Vec<TaskId> = self.tasks.keys().cloned().collect();
        let mut leased = Vec::new();
        for full in self.store.get_many(&ids, Parts::NONE).await.unwrap_or_default() {
            leased.extend(full.map(|full| full.task).filter(|task| task.state.is_leased()));
        }
        let Some(task) = leased.get(at % leased.len().max(1)) else { return Ok(()) };
        match complete(&self.store, task).await {
            Ok(task) => self.note(&task),
            Err(ApplyError::Store(error)) if error.is_retryable() => {}
            Err(error) => return Err(format!("{} was not completed: {error}", task.id)),
        }
        Ok(())
    }

    async fn retry(&mut self, at: usize) -> Result<(), String> {
        let ended: Vec<TaskId> = (self.tasks.iter())
            .filter(|(_, known)| known.finish_ms.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        let Some(id) = ended.get(at % ended.len().max(1)) else { return Ok(()) };
        let retry = Event::retry(false);
        match self.store.apply(vec![(id.clone(), retry)]).await.remove(0) {
            Ok(applied) => self.note(&applied.task),
            Err(ApplyError::Expired { .. }) => self.check(id, false).await?,
            Err(ApplyError::Store(error)) if error.is_retryable() => {}
            Err(error) => return Err(format!("{id} was not retried: {error}")),
        }
        Ok(())
    }

    /// A new leader and a broker that was just started finish everything, but for one task that
    /// hangs for most of that time: no other may have to wait for it.
    async fn come_to_an_end(&mut self) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let store = connect(&self.url, &dir, &self.off).await;
        let fence = lead(&store, -1).await;
        let mut hanging = None;
        for _ in 0..ROUNDS_MAX {
            self.finish_round(&store, &fence, &mut hanging).await?;
        }
        if let Some(task) = &hanging {
            for id in self.tasks.keys().filter(|id| **id != task.id) {
                self.check(id, true).await?;
            }
            self.note(&complete(&store, task).await.map_err(|error| error.to_string())?);
        }
        let shards = store.list_shards(None).await.unwrap();
        let half_made = [ShardState::Creating, ShardState::Dropping];
        if let Some(left) = shards.iter().find(|shard| half_made.contains(&shard.state)) {
            return Err(format!("a shard was left behind: {left:?}"));
        }
        store.close().await;
        Ok(())
    }

    async fn finish_round(
        &mut self,
        store: &Store,
        fence: &LeaderFence,
        hanging: &mut Option<Task>,
    ) -> Result<(), String> {
        for shard in store.list_shards(None).await.unwrap() {
            let keep = DropTerms { before_ms: 0, archived: None };
            let of = Some((shard.id, keep));
            match shard.state {
                ShardState::Creating => govern(store, &Op::Roll, None, fence).await,
                ShardState::Dropping => {
                    govern(store, &Op::Drop(0, Keep::Everything), of, fence).await;
                }
                _ => {}
            }
        }
        govern(store, &Op::Drain, None, fence).await;
        claim(store, 1_000).await?;
        let ids: Vec<TaskId> = self.tasks.keys().cloned().collect();
        let found = store.get_many(&ids, Parts::NONE).await.unwrap().into_iter().flatten();
        for task in found.map(|full| full.task).filter(|task| task.state.is_leased()) {
            if hanging.get_or_insert_with(|| task.clone()).id != task.id {
                self.note(&complete(store, &task).await.map_err(|error| error.to_string())?);
            }
        }
        Ok(())
    }

    async fn check_all(&self, at_the_end: bool) -> Result<(), String> {
        let ids: BTreeSet<&TaskId> = self.tasks.keys().collect();
        for id in ids {
            self.check(id, at_the_end).await?;
        }
        Ok(())
    }

    /// The counts that were kept up are those of the rows.
    async fn check_counts(&self) -> Result<(), String> {
        let limits = CompareLimits { page_rows: 100, snapshot_max: Duration::from_secs(60) };
        for shard in self.store.list_shards(None).await.unwrap() {
            match self.store.compare_counts(&shard.id, limits).await.unwrap() {
                Compared::Whole(found) if !found.drifts.is_empty() => {
                    return Err(format!("counts differ: {:?}", found.drifts));
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn check(&self, id: &TaskId, at_the_end: bool) -> Result<(), String> {
        let known = &self.tasks[id];
        let before_ms = self.dropped_before.get(&id.shard).copied().unwrap_or_default();
        let may_be_gone = known.finish_ms.is_some_and(|finish_ms| finish_ms < before_ms);
        match self.store.get(id, Parts::NONE).await {
            Ok(full) if at_the_end && !full.task.state.is_terminal() => {
                Err(format!("{id} was never worked on: {:?}", full.task.state))
            }
            Ok(_) => Ok(()),
            Err(GetError::Expired { .. }) if may_be_gone => Ok(()),
            // Between the rename and the drop.
            Err(GetError::Store(StoreError::Unavailable { .. })) if !at_the_end => Ok(()),
            Err(error) => Err(format!("{id} ({known:?}, kept from {before_ms}) is lost: {error}")),
        }
    }
}

async fn create(store: &Store) -> Option<Task> {
    let new = NewTask::new(name(), "ann");
    let task_type = Arc::new(TaskType::with_defaults(name(), 0));
    store.insert(vec![Create { new, task_type }]).await.remove(0).ok().map(|made| made.task)
}

async fn claim(store: &Store, want: u32) -> Result<(), String> {
    let taker = Taker {
        worker_id: "w".into(),
        session_id: SESSION,
        acquire_id: String::new(),
        want,
        lease_ttl_ms: None,
        takes_only_commands: false,
    };
    let request = ClaimRequest {
        task_type: name(),
        limit: want,
        takers: vec![taker],
        is_alone: true,
        bytes_max: usize::MAX,
        after: BTreeMap::new(),
        handout_ttl_ms: LEASE_MS,
    };
    match store.claim(&request).await {
        // A shard may be on its way out at this very moment.
        Err(error) if !error.is_retryable() => Err(format!("a claim failed: {error}")),
        _ => Ok(()),
    }
}

async fn complete(store: &Store, task: &Task) -> Result<Task, ApplyError> {
    let fence = Fence { attempt: task.attempt, session_id: SESSION };
    let settle = Settle::complete(None);
    let event = Event::Settle { fence, settle, digest: 1, exit_code: None, usage: None };
    Ok(store.apply(vec![(task.id.clone(), event)]).await.remove(0)?.task)
}

/// What a governor does. It may be refused; what then is true is for the checks to see.
async fn govern(store: &Store, op: &Op, terms: Option<(ShardId, DropTerms)>, fence: &LeaderFence) {
    let outcome = match op {
        Op::Roll => store.roll_shard(&name(), Some(fence)).await.map(drop),
        Op::Drain => store.drain_shards(None, fence).await.map(drop),
        _ => match terms {
            Some((shard, terms)) => store.drop_shard(&shard, terms, fence).await.map(drop),
            None => Ok(()),
        },
    };
    if let Err(error) = outcome {
        assert!(matches!(error, StoreError::NotLeader) || error.is_retryable(), "{op:?}: {error}");
    }
}
