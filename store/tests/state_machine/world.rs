//! The store beside the model: does a command to both and compares what they say.

use std::collections::VecDeque;

use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence},
    id::TaskId,
    limits::{NAME_BYTES_MAX, USER_BYTES_MAX},
    state::TaskState,
    task::Task,
    transition::Refusal,
};
use asyncflow_store::{
    Applied, ApplyError, Backend, ClaimRequest, Create, InsertError, InsertRefusal, Inserted,
    Store, StoreOptions, testing::Dice,
};

use super::{
    command::Command,
    model::{Model, TYPES, WORKERS, task_type, type_name},
    roll,
};

/// Commands that a failure prints.
const TOLD: usize = 12;
/// Events that may be sent again.
const SENT: usize = 40;

pub struct World {
    /// Two processes; the first one also does what only one does.
    pub stores: [Store; 2],
    pub model: Model,
    pub dice: Dice,
    /// What an earlier look of the governor saw.
    pub suspects: Vec<asyncflow_core::lease::Suspect>,
    sent: Vec<(TaskId, Event)>,
    seq: i64,
    trail: Trail,
}

/// Says how a walk that fails is walked again.
struct Trail {
    database: &'static str,
    seed: u64,
    steps: usize,
    last: VecDeque<String>,
}

impl Drop for Trail {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let Self { database, seed, steps, last } = self;
        for (at, command) in last.iter().enumerate() {
            println!("command {}: {command}", *steps + 1 + at - last.len());
        }
        println!(
            "seed {seed} fails at command {steps}; again by\nASYNCFLOW_WALK_SEED={seed} cargo test \
             -p asyncflow-store --test state_machine {database}"
        );
    }
}

impl World {
    pub async fn open(url: &str, database: &'static str, seed: u64) -> Self {
        let trail = Trail { database, seed, steps: 0, last: VecDeque::new() };
        let mut options = StoreOptions::new(url);
        options.max_connections = 4;
        let first = Store::connect(&options).await.unwrap();
        first.migrate().await.unwrap();
        let second = Store::connect(&options).await.unwrap();
        let model = Model::default();
        let (dice, suspects, sent) = (Dice::of(seed), Vec::new(), Vec::new());
        let stores = [first, second];
        let mut world = Self { stores, model, dice, suspects, sent, seq: 0, trail };
        for name in TYPES.map(type_name) {
            world.stores[0].ensure_type(&name).await.unwrap();
            world.model.shards.insert(name.clone(), 1);
            // So that both processes know the shard.
            for process in 0..2 {
                let batch = vec![NewTask::new(name.clone(), "ann")];
                world.carry_out(Command::Create { process, batch }).await;
            }
        }
        for worker in 0..WORKERS {
            let register = Command::Register { worker, is_new: true, adopts: 0, keeps: 0 };
            world.carry_out(register).await;
        }
        world
    }

    pub async fn close(self) {
        for store in &self.stores {
            store.close().await;
        }
    }

    pub async fn step(&mut self) {
        let now_ms = self.stores[0].now_ms().await.unwrap();
        let command = roll::command(&mut self.dice, &self.model, &self.sent, now_ms);
        self.carry_out(command).await;
    }

    async fn carry_out(&mut self, command: Command) {
        self.trail.steps += 1;
        self.trail.last.push_back(format!("{command:?}"));
        if self.trail.last.len() > TOLD {
            self.trail.last.pop_front();
        }
        match command {
            Command::Create { process, batch } => self.create(process, batch).await,
            Command::Claim(request) => self.claim(request).await,
            Command::Acquired { session_id, acquire_id } => {
                self.acquired(session_id, acquire_id).await;
            }
            Command::Apply { process, events } => self.apply(process, events).await,
            Command::Delete(id) => self.delete(&id).await,
            Command::Register { worker, is_new, adopts, keeps } => {
                self.register(worker, is_new, adopts, keeps).await;
            }
            Command::Leave { worker, departure } => self.leave(worker, departure).await,
            Command::Promote { task_type, limit } => self.promote(&task_type, limit).await,
            Command::Reap { task_type, renews } => self.reap(&task_type, renews).await,
            Command::PauseType { task_type, paused } => {
                let change = |of: &mut asyncflow_core::task_type::TaskType| of.paused = paused;
                self.stores[0].update_type(&task_type, None, change).await.unwrap();
                match paused {
                    true => self.model.paused.insert(task_type),
                    false => self.model.paused.remove(&task_type),
                };
            }
            Command::Roll(name) => {
                let shard = self.stores[0].roll_shard(&name, None).await.unwrap();
                let newest = self.model.shards.get_mut(&name).unwrap();
                *newest += 1;
                assert_eq!((&shard.task_type, shard.number), (&name, *newest));
            }
        }
        self.compare_changes().await;
    }

    /// The change log got just what the command did; to one task in that order.
    async fn compare_changes(&mut self) {
        let mut found = Vec::new();
        loop {
            let rows = self.stores[0].changes_after(self.seq, 100).await.unwrap();
            let Some(last) = rows.last() else { break };
            assert!(rows.is_sorted_by(|a, b| a.seq < b.seq));
            self.seq = last.seq;
            found.extend(rows.into_iter().flat_map(|row| row.changes));
        }
        let mut wanted = std::mem::take(&mut self.model.changes);
        found.sort_by(|a, b| a.task_id.cmp(&b.task_id));
        wanted.sort_by(|a, b| a.task_id.cmp(&b.task_id));
        assert_eq!(found, wanted, "the change log (left) and the model (right)");
    }

    async fn create(&mut self, process: usize, batch: Vec<NewTask>) {
        let store = &self.stores[process];
        let creates = batch
            .iter()
            .map(|new| Create { new: new.clone(), task_type: task_type(&new.task_type) });
        let answers = store.insert(creates.collect()).await;
        assert_eq!(answers.len(), batch.len());
        let knows_lengths = store.backend() != Backend::Sqlite;
        for (new, answer) in batch.iter().zip(answers) {
            let is_bad = new.name.len() > NAME_BYTES_MAX || new.user.len() > USER_BYTES_MAX;
            if is_bad && knows_lengths && self.model.known(new).is_none() {
                assert!(matches!(answer, Err(InsertError::Store(_))), "{answer:?}");
                continue;
            }
            self.created(new, answer);
        }
    }

    fn created(&mut self, new: &NewTask, answer: Result<Inserted, InsertError>) {
        let model = &mut self.model;
        let Some((first, task_id)) = model.known(new).cloned() else {
            let Inserted { task, deduplicated, handed } = answer.unwrap();
            assert!(!deduplicated && handed.is_none());
            let newest = model.shards[&new.task_type];
            assert!(task.id.task_type() == &new.task_type);
            assert!((1..=newest).contains(&task.id.shard.number), "{}", task.id);
            assert_eq!(task, model.create(new, &task.id, task.create_time_ms));
            if let Some(request_id) = new.request_id.clone() {
                model.requests.insert((new.user.clone(), request_id), (new.clone(), task.id));
            }
            return;
        };
        let found = match answer {
            Ok(Inserted { task, deduplicated: true, handed: None }) => Ok(task),
            Err(InsertError::Refused(refusal)) => Err(refusal),
            other => panic!("a repeated request was answered {other:?}"),
        };
        let wanted = match model.rows.get(&task_id) {
            _ if first != *new => Err(InsertRefusal::RequestIdReused { task_id }),
            Some(row) => Ok(row.task.clone()),
            None => Err(InsertRefusal::Gone { task_id, expired: None }),
        };
        assert_eq!(found, wanted, "to a repeated request");
    }

    async fn claim(&mut self, request: ClaimRequest) {
        let claimed = self.stores[0].claim(&request).await.unwrap();
        assert!(!claimed.is_cut && claimed.aside.is_empty());
        let (wanted, replays) = self.deal(&request);
        assert_eq!(claimed.replays, replays, "acquires that were used before");
        let found = claimed.leased.iter().map(|leased| (leased.taker, leased.task.task.id.clone()));
        assert_eq!(found.collect::<Vec<_>>(), wanted, "who got what");
        for leased in claimed.leased {
            let (taker, full) = (&request.takers[leased.taker], leased.task);
            let (id, now_ms) = (&full.task.id, full.task.update_time_ms);
            let (worker_id, session_id) = (taker.worker_id.clone(), taker.session_id);
            let handout_ttl_ms = request.handout_ttl_ms;
            let event = Event::Claim { worker_id, session_id, handout_ttl_ms };
            let mut task = self.model.apply(id, &event, now_ms).unwrap();
            let fence = Fence { attempt: task.attempt, session_id };
            if let Some(lease_ttl_ms) = taker.lease_ttl_ms {
                let event = Event::Start { fence, lease_ttl_ms };
                task = self.model.apply(id, &event, now_ms).unwrap();
            }
            assert_eq!(full.task, task);
            let body = &self.model.rows[id].body;
            assert_eq!((&full.body.payload, &full.body.context), (&body.payload, &body.context));
            assert_eq!(full.body.labels, body.labels);
            if !taker.acquire_id.is_empty() {
                let acquire = (session_id, taker.acquire_id.clone());
                let got = self.model.acquires.entry(acquire).or_default();
                got.push((id.clone(), task.attempt));
            }
        }
    }

    /// Who gets which tasks, and whose acquire was used before and gets none: only one that would
    /// get something is asked, and then all are.
    fn deal(&self, request: &ClaimRequest) -> (Vec<(usize, TaskId)>, Vec<usize>) {
        let model = &self.model;
        let queue = match model.paused.contains(&request.task_type) {
            true => Vec::new(),
            false => model.queue(&request.task_type, TaskState::Pending),
        };
        let takers = || request.takers.iter().enumerate();
        let used: Vec<usize> = takers()
            .filter(|(_, taker)| {
                model.acquires.contains_key(&(taker.session_id, taker.acquire_id.clone()))
            })
            .map(|(at, _)| at)
            .collect();
        let deal = |without: &[usize]| -> Vec<(usize, TaskId)> {
            let takers = takers().filter(|(at, _)| !without.contains(at));
            let places = takers.flat_map(|(at, taker)| vec![at; taker.want as usize]);
            let tasks = queue.iter().map(|task| task.id.clone());
            places.zip(tasks).take(request.limit as usize).collect()
        };
        let dealt = deal(&[]);
        if dealt.iter().any(|(at, _)| used.contains(at)) {
            (deal(&used), used)
        } else {
            (dealt, vec![])
        }
    }

    pub async fn acquired(&mut self, session_id: i64, acquire_id: String) {
        let found = self.stores[1].acquired(session_id, &acquire_id).await.unwrap();
        let found = found.map(|all| all.into_iter().map(|one| one.full.task).collect::<Vec<_>>());
        let held = |(id, attempt): &(TaskId, i32)| -> Option<Task> {
            let task = &self.model.rows.get(id)?.task;
            let is_held = task.state.is_leased()
                && (task.attempt, task.holder.session_id) == (*attempt, session_id);
            is_held.then(|| task.clone())
        };
        let got = self.model.acquires.get(&(session_id, acquire_id));
        assert_eq!(found, got.map(|got| got.iter().filter_map(held).collect()));
    }

    async fn apply(&mut self, process: usize, events: Vec<(TaskId, Event)>) {
        let answers = self.stores[process].apply(events.clone()).await;
        assert_eq!(answers.len(), events.len());
        for ((id, event), answer) in events.into_iter().zip(answers) {
            self.applied(&id, &event, answer);
            if matches!(event, Event::Settle { .. } | Event::SaveContext { .. }) {
                self.sent.push((id, event));
                if self.sent.len() > SENT {
                    self.sent.remove(0);
                }
            }
        }
    }

    /// The answer to an event is the model's.
    pub fn applied(&mut self, id: &TaskId, event: &Event, answer: Result<Applied, ApplyError>) {
        let Some(row) = self.model.rows.get(id) else {
            assert!(matches!(answer, Err(ApplyError::NotFound)), "of {id}, deleted: {answer:?}");
            return;
        };
        let before = row.task.clone();
        match answer {
            Ok(Applied { task, made }) => {
                assert!(made.is_empty());
                let wanted = self.model.apply(id, event, task.update_time_ms);
                assert_eq!(Ok(task), wanted, "{event:?} on {before:?}");
            }
            Err(ApplyError::Refused(refusal, task)) => {
                assert_eq!(*task, before, "{event:?}");
                let wanted = self.model.apply(id, event, before.update_time_ms);
                assert_eq!(Err(refusal), wanted, "{event:?} on {before:?}");
            }
            other => panic!("{event:?} on {before:?} was answered {other:?}"),
        }
    }

    async fn delete(&mut self, id: &TaskId) {
        let answer = self.stores[0].delete(id).await;
        let Some(row) = self.model.rows.get(id) else {
            assert!(matches!(answer, Err(ApplyError::NotFound)), "of {id}, deleted: {answer:?}");
            return;
        };
        let state = row.task.state;
        if state.is_leased() {
            let wanted = Refusal::IllegalState { state, verb: "deleted" };
            let Err(ApplyError::Refused(refusal, task)) = answer else { panic!("{answer:?}") };
            assert_eq!((refusal, &*task), (wanted, &row.task));
            return;
        }
        assert_eq!(answer.unwrap(), row.task);
        self.model.delete(id);
    }
}
