//! Clients that create tasks and do to them what owners do, and write down what they are told.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{checker::Kind, evidence::Notebook};
use asyncflow_proto::v1::CreateTaskRequest;
use asyncflow_sdk::{Client, Error, is_terminal};
use asyncflow_store::testing::Dice;
use tokio::task::JoinHandle;

use super::program;

/// Between what a client does and what it does next.
const PAUSE: Duration = Duration::from_millis(60);
/// So many tasks of a client are under way at once: what the machine cannot do is not asked for.
const LIVE_MAX: usize = 6;
/// Before a call whose outcome is unknown is repeated.
const AGAIN: Duration = Duration::from_millis(100);

/// Clients at work.
pub struct Clients {
    is_over: Arc<AtomicBool>,
    running: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Sends so many out; each knows all of these brokers.
    pub fn send(
        count: usize,
        brokers: &[Client],
        notebook: &Notebook,
        records: &Path,
        seed: u64,
    ) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let send = |number: usize| {
            let one = One {
                number,
                brokers: brokers.to_vec(),
                notebook: notebook.clone(),
                records: records.to_owned(),
                dice: Dice::of(seed + number as u64 + 1),
                made: Vec::new(),
                live: VecDeque::new(),
            };
            tokio::spawn(one.work(Arc::clone(&is_over)))
        };
        let running = (0..count).map(send).collect();
        Self { is_over, running }
    }

    /// Lets each end what it does, and returns when all have.
    pub async fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.running {
            client.await.unwrap();
        }
    }
}

struct One {
    number: usize,
    brokers: Vec<Client>,
    notebook: Notebook,
    records: PathBuf,
    dice: Dice,
    /// Ids of the tasks that it knows of.
    made: Vec<String>,
    /// Those of them whose end it has not seen, the oldest first.
    live: VecDeque<String>,
}

impl One {
    async fn work(mut self, is_over: Arc<AtomicBool>) {
        for n in 0.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            if self.live.len() < LIVE_MAX {
                self.create(format!("r-{}-{n}", self.number)).await;
            }
            self.look_at_the_oldest().await;
            self.look_or_meddle().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn broker(&mut self) -> Client {
        let count = self.brokers.len() as u64;
        self.brokers[self.dice.roll(count) as usize].clone()
    }

    /// Repeats it, by any broker, until it is known what became of it.
    async fn create(&mut self, request_id: String) {
        // Some take longer than it takes to give them to another worker.
        let is_slow = self.dice.one_in(4);
        let pause_ms = if is_slow { 500 + self.dice.roll(400) } else { 20 + self.dice.roll(100) };
        let fails = self.dice.one_in(10);
        let task = program::task(&request_id, &self.records, pause_ms, fails);
        let request = CreateTaskRequest {
            task: Some(task),
            request_id: request_id.clone(),
            ..CreateTaskRequest::default()
        };
        loop {
            let (broker, request) = (self.broker(), request.clone());
            let call = async move { Ok(broker.create_with(request).await?.task) };
            let kind = Kind::Create { request_id: request_id.clone() };
            match self.notebook.note(self.number, kind, call).await {
                Ok(task) => {
                    let id = task.map(|task| task.id);
                    self.live.extend(id.clone());
                    return self.made.extend(id);
                }
                Err(error) if is_worth_repeating(&error) => tokio::time::sleep(AGAIN).await,
                Err(_) => return,
            }
        }
    }

    /// Puts it behind the others while it has not ended, or nobody could tell.
    async fn look_at_the_oldest(&mut self) {
        let Some(id) = self.live.pop_front() else { return };
        let broker = self.broker();
        let call = async { broker.get(&id).await.map(Some) };
        let kind = Kind::Read { task: id.clone() };
        let is_over = match self.notebook.note(self.number, kind, call).await {
            Ok(task) => task.is_some_and(|task| is_terminal(task.state())),
            Err(error) => error.is_not_found(),
        };
        if !is_over {
            self.live.push_back(id);
        }
    }

    /// Asks something of a task that it has made. Whatever it is told is for the checker.
    async fn look_or_meddle(&mut self) {
        let count = self.made.len() as u64;
        if count == 0 {
            return;
        }
        let id = self.made[self.dice.roll(count) as usize].clone();
        let task = id.clone();
        let broker = self.broker();
        let (what, number) = (self.dice.roll(100), self.number);
        let note = self.notebook.clone();
        let told = match what {
            0..5 => {
                let call = async { broker.cancel(&id, "changed my mind").await.map(Some) };
                note.note(number, Kind::Cancel { task }, call).await
            }
            5..9 => {
                let call = async { broker.retry(&id, false).await.map(Some) };
                note.note(number, Kind::Retry { task }, call).await
            }
            9..11 => {
                let call = async { broker.delete(&id).await.map(|()| None) };
                note.note(number, Kind::Delete { task }, call).await
            }
            _ => {
                let call = async { broker.get(&id).await.map(Some) };
                note.note(number, Kind::Read { task }, call).await
            }
        };
        drop(told);
    }
}

fn is_worth_repeating(error: &Error) -> bool {
    error.is_retryable() || error.code() == tonic::Code::DeadlineExceeded
}
