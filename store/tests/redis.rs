//! Locks and wake-ups through a real Redis: lost, flushed, stopped, gone and back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Duration;

use asyncflow_store::{
    LockKind, Store, StoreOptions,
    testing::{Server, SqliteFile, start_redis},
};

const TTL: Duration = Duration::from_millis(900);

async fn open(file: &SqliteFile, redis: &Server) -> Store {
    let mut options = StoreOptions::new(file.url());
    options.lock = LockKind::Redis;
    options.redis_url = Some(format!("redis://127.0.0.1:{}", redis.port()));
    let store = Store::connect(&options).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn redis_command(redis: &Server, command: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", redis.port())).await.unwrap();
    stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 512];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_renewed_and_released() {
    let (redis, file) = (start_redis(), SqliteFile::new());
    let (first, second) = (open(&file, &redis).await, open(&file, &redis).await);
    let guard = first.locks().try_acquire("claim", TTL).await.unwrap().unwrap();
    assert!(second.locks().try_acquire("claim", TTL).await.unwrap().is_none());
    tokio::time::sleep(TTL * 2).await;
    assert!(guard.is_held());
    assert!(second.locks().try_acquire("claim", TTL).await.unwrap().is_none());
    drop(guard);
    let taken = loop {
        if let Some(guard) = second.locks().try_acquire("claim", TTL).await.unwrap() {
            break guard;
        }
    };
    // A closing store gives back what it holds.
    second.close().await;
    taken.lost().await;
    assert!(!taken.is_held());
    assert!(first.locks().try_acquire("claim", TTL).await.unwrap().is_some());
    first.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_lock_is_seen_by_its_holder_and_not_released_for_another() {
    let (redis, file) = (start_redis(), SqliteFile::new());
    let (first, second) = (open(&file, &redis).await, open(&file, &redis).await);
    let guard = first.locks().try_acquire("claim", TTL).await.unwrap().unwrap();
    assert!(redis_command(&redis, "FLUSHALL").await.starts_with("+OK"));
    let other = second.locks().try_acquire("claim", TTL).await.unwrap().unwrap();
    guard.lost().await;
    assert!(!guard.is_held());
    guard.release().await;
    assert!(first.locks().try_acquire("claim", TTL).await.unwrap().is_none());
    assert!(other.is_held());
    first.close().await;
    second.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_redis_costs_one_call_and_then_nothing() {
    let (redis, file) = (start_redis(), SqliteFile::new());
    let store = open(&file, &redis).await;
    let guard = store.locks().try_acquire("claim", TTL).await.unwrap().unwrap();
    redis.process().signal("STOP");
    let calls = async {
        for _ in 0..100 {
            let refused = store.locks().try_acquire("other", TTL).await;
            assert!(refused.unwrap_err().is_retryable());
        }
    };
    // A hundred calls that wait would take thirty seconds.
    tokio::time::timeout(Duration::from_secs(2), calls).await.unwrap();
    guard.lost().await;
    assert!(!guard.is_held());
    redis.process().signal("CONT");
    let back = async {
        while !matches!(store.locks().try_acquire("other", TTL).await, Ok(Some(_))) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back).await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rings_reach_other_processes_and_survive_a_restart_of_redis() {
    let (mut redis, file) = (start_redis(), SqliteFile::new());
    let (first, second) = (open(&file, &redis).await, open(&file, &redis).await);
    let connected = |connected| {
        let stores = [first.clone(), second.clone()];
        async move {
            while stores.iter().any(|store| store.wake().is_connected() != Some(connected)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    connected(true).await;
    let mut heard = second.wake().subscribe("type:work");
    let mut here = first.wake().subscribe("type:work");
    let mut other = second.wake().subscribe("type:other");
    first.wake().ring(["type:work"]);
    tokio::time::timeout(Duration::from_secs(5), heard.rung()).await.unwrap();
    assert!(here.take_rung() && !other.take_rung());
    redis.process().kill();
    connected(false).await;
    first.wake().ring(["type:work"]);
    assert!(here.take_rung(), "inside the process it works without Redis");
    redis.restart();
    connected(true).await;
    // Whatever was missed meanwhile is rung once.
    tokio::time::timeout(Duration::from_secs(5), other.rung()).await.unwrap();
    first.close().await;
    second.close().await;
}

/// It is stopped: its connections stand, and nothing comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_redis_is_away() {
    let (redis, file) = (start_redis(), SqliteFile::new());
    let store = open(&file, &redis).await;
    let becomes = async |connected| {
        let looks = async {
            while store.wake().is_connected() != Some(connected) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), looks).await.unwrap();
    };
    becomes(true).await;
    redis.process().signal("STOP");
    becomes(false).await;
    redis.process().signal("CONT");
    becomes(true).await;
    store.close().await;
}
