//! How much time it costs when Redis is in trouble: how many tasks are done, and how long a free
//! slot waits for the next one. Only what was measured in the same run is compared, and only on a
//! machine that does nothing else: `make test-redis-speed`.

use std::time::Duration;

use asyncflow_proto::{
    time::timestamp_ms,
    v1::{CountTasksRequest, CreateTaskRequest, TaskSpec, TaskState},
};
use asyncflow_sdk::Client;
use asyncflow_store::testing::{Server, tell_skipped};
use asyncflow_tests::{Backend, Cluster, Shape, Stopwatch, redis::told, until};
use prost_types::Timestamp;
use serde_json::Value;

use crate::handlers::{Function, Worker};

/// Medians of so many, taken by turns.
const ROUNDS: usize = 3;
/// Tasks of one drain.
const DRAINED: usize = 500;
/// Claims of one task each.
const SAMPLES: usize = 100;
/// Tasks that are created where no worker waits.
const ELSEWHERE: usize = 10;
/// By so much the slowest claim but one of a hundred may be slower.
const SLOWER_MAX_MS: i64 = 500;

/// Whether speed is to be judged; says so when not.
fn is_asked_for() -> bool {
    let is_asked_for = std::env::var_os("ASYNCFLOW_TEST_SPEED").is_some();
    if !is_asked_for {
        tell_skipped("speed is judged by make test-redis-speed, on a quiet machine");
    }
    is_asked_for
}

fn quick() -> CreateTaskRequest {
    let task = TaskSpec { task_type: "quick".to_owned(), ..TaskSpec::default() };
    CreateTaskRequest { task: Some(task), ..CreateTaskRequest::default() }
}

/// A worker of tasks that do nothing, which asks this broker.
fn worker(cluster: &Cluster, broker: usize, slots: usize) -> Worker {
    let nothing = |_, _| async { Ok(Value::Null) };
    Worker::at_one_broker(cluster, broker, slots, [("quick", Function::new(nothing))])
}

/// How often these brokers have said that Redis is away, and that it is back.
fn outages(cluster: &Cluster, brokers: &[usize]) -> Vec<(usize, usize)> {
    let times = |log: &str, what| log.matches(what).count();
    let logs = brokers.iter().map(|n| cluster.brokers[*n].log());
    let counts =
        logs.map(|log| (times(&log, "Redis does not answer"), times(&log, "Redis answers again")));
    counts.collect()
}

async fn until_missed(cluster: &Cluster, brokers: &[usize]) {
    until("each does without Redis", || async {
        outages(cluster, brokers).iter().all(|(away, back)| away > back).then_some(())
    })
    .await;
}

async fn until_used_again(cluster: &Cluster, redis: &Server, brokers: &[usize]) {
    until("each uses Redis again", || async {
        let is_back = outages(cluster, brokers).iter().all(|(away, back)| away == back);
        // Each listens for wake-ups on a connection of its own.
        let listeners = told(redis, "CLIENT LIST TYPE pubsub").matches("addr=").count();
        (is_back && listeners >= cluster.brokers.len()).then_some(())
    })
    .await;
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    Flushed,
    Stopped,
    Killed,
}

const TROUBLES: [Trouble; 4] = [Trouble::None, Trouble::Flushed, Trouble::Stopped, Trouble::Killed];

impl Trouble {
    fn begin(self, redis: &Server) {
        match self {
            Self::None => {}
            Self::Flushed => drop(told(redis, "FLUSHALL")),
            Self::Stopped => redis.process().signal("STOP"),
            Self::Killed => redis.process().kill(),
        }
    }

    /// Heals it when both brokers have noticed, and returns when both use it again.
    async fn end(self, cluster: &Cluster, redis: &mut Server) {
        if matches!(self, Self::Stopped | Self::Killed) {
            until_missed(cluster, &[0, 1]).await;
        }
        match self {
            Self::None | Self::Flushed => {}
            Self::Stopped => redis.process().signal("CONT"),
            Self::Killed => redis.restart(),
        }
        until_used_again(cluster, redis, &[0, 1]).await;
    }
}

/// How long many tasks take whose claims have begun when the trouble begins.
async fn drained(client: &Client, trouble: Trouble, redis: &Server) -> Duration {
    let succeeded = || async {
        let states = vec![TaskState::Succeeded.into()];
        let request = CountTasksRequest { states, ..CountTasksRequest::default() };
        client.count(request).await.unwrap().total
    };
    let before = succeeded().await;
    let taken = Stopwatch::start();
    client.create_batch((0..DRAINED).map(|_| quick()).collect()).await.unwrap();
    trouble.begin(redis);
    until("all are done", || async {
        (succeeded().await == before + DRAINED as i64).then_some(())
    })
    .await;
    taken.elapsed()
}

fn median<T: Ord + Copy>(mut of: Vec<T>) -> T {
    of.sort_unstable();
    of[of.len() / 2]
}

async fn half_as_much_is_done_at_least(backend: Backend) {
    if !is_asked_for() {
        return;
    }
    let shape = Shape { brokers: 2, workers: 0, redis: true, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let mut redis = cluster.redis.take().unwrap();
    let workers = [0, 1].map(|broker| worker(&cluster, broker, 8));
    let client = cluster.client(0);
    drained(&client, Trouble::None, &redis).await;
    let mut took = TROUBLES.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (trouble, took) in TROUBLES.into_iter().zip(&mut took) {
            took.push(drained(&client, trouble, &redis).await);
            trouble.end(&cluster, &mut redis).await;
        }
    }
    println!("{backend:?}: {DRAINED} tasks took {TROUBLES:?} {took:?}");
    let [well, in_trouble @ ..] = took.map(median);
    for (trouble, took) in TROUBLES[1..].iter().zip(in_trouble) {
        println!(
            "{backend:?}: {trouble:?} {:.0} %",
            100.0 * well.as_secs_f64() / took.as_secs_f64()
        );
        assert!(took <= 2 * well, "{trouble:?}: {took:?}, else {well:?} {}", cluster.logs());
    }
    for worker in workers {
        worker.stop().await;
    }
}
on_each_database!(half_as_much_is_done_at_least: mariadb MariaDb, postgres Postgres);

fn ms(time: Option<Timestamp>) -> i64 {
    timestamp_ms(&time.unwrap()).unwrap()
}

/// How long the only slot was free before each of many tasks that were there, sorted.
async fn waits_ms(client: &Client) -> Vec<i64> {
    let created = client.create_batch((0..=SAMPLES).map(|_| quick()).collect()).await.unwrap();
    let mut times = Vec::new();
    for answer in created {
        let task = client.wait(&answer.task.unwrap().id, None).await.unwrap();
        times.push((ms(task.start_time), ms(task.finish_time)));
    }
    times.sort_unstable();
    let mut waits: Vec<_> = times.windows(2).map(|two| two[1].0 - two[0].1).collect();
    waits.sort_unstable();
    waits
}

/// From create to start, of few tasks one after the other, sorted.
async fn told_after_ms(client: &Client) -> Vec<i64> {
    let mut waits = Vec::new();
    for _ in 0..ELSEWHERE {
        let id = client.create_with(quick()).await.unwrap().task.unwrap().id;
        let task = client.wait(&id, None).await.unwrap();
        waits.push(ms(task.start_time) - ms(task.create_time));
    }
    waits.sort_unstable();
    waits
}

/// A slot that is free again is soon given the next task.
async fn a_claim_takes_no_longer(backend: Backend) {
    if !is_asked_for() {
        return;
    }
    let shape = Shape { brokers: 2, workers: 0, redis: true, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let redis = cluster.redis.take().unwrap();
    let worker = worker(&cluster, 0, 1);
    let (client, other) = (cluster.client(0), cluster.client(1));
    waits_ms(&client).await;
    let (mut well, mut stopped) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        well.push(slowest_ms(backend, "Redis is well", &client, &other).await);
        redis.process().signal("STOP");
        until_missed(&cluster, &[0]).await;
        stopped.push(slowest_ms(backend, "Redis is stopped", &client, &other).await);
        redis.process().signal("CONT");
        until_used_again(&cluster, &redis, &[0]).await;
    }
    let [well, stopped] = [median(well), median(stopped)];
    assert!(stopped <= well + SLOWER_MAX_MS, "{stopped} ms, else {well} {}", cluster.logs());
    worker.stop().await;
}
on_each_database!(a_claim_takes_no_longer: mariadb MariaDb, postgres Postgres);

/// The slowest but one. What is created at another broker than the one whose worker waits has to be
/// told by Redis, or is found when that broker looks: this is printed and not judged.
async fn slowest_ms(backend: Backend, when: &str, here: &Client, elsewhere: &Client) -> i64 {
    let (here, elsewhere) = (waits_ms(here).await, told_after_ms(elsewhere).await);
    let [median, slowest] = [here[SAMPLES / 2], here[SAMPLES - 2]];
    let [far, farthest] = [elsewhere[ELSEWHERE / 2], elsewhere[ELSEWHERE - 1]];
    println!(
        "{backend:?}, {when}: median {median} ms, p99 {slowest} ms; created elsewhere: median \
         {far} ms, at most {farthest} ms"
    );
    slowest
}
