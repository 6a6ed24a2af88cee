//! Wake-ups through PostgreSQL itself, where there is no Redis: between processes, and after all
//! connections were cut.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Duration;

use asyncflow_store::{
    Store, StoreOptions,
    testing::{fresh_database, postgres},
};
use sea_orm::{ConnectionTrait, Database};

const PATIENCE: Duration = Duration::from_secs(5);

async fn until_connected(stores: &[&Store], connected: bool) {
    while stores.iter().any(|store| store.wake().is_connected() != Some(connected)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rings_reach_other_processes_and_survive_a_cut() {
    let url = fresh_database(postgres()).await;
    let first = Store::connect(&StoreOptions::new(&url)).await.unwrap();
    let second = Store::connect(&StoreOptions::new(&url)).await.unwrap();
    until_connected(&[&first, &second], true).await;
    let mut heard = second.wake().subscribe("type:work");
    let mut here = first.wake().subscribe("type:work");
    let mut other = second.wake().subscribe("type:other");
    first.wake().ring(["type:work"]);
    tokio::time::timeout(PATIENCE, heard.rung()).await.unwrap();
    assert!(here.take_rung() && !other.take_rung());

    let db = Database::connect(&url).await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    db.execute_unprepared(cut).await.unwrap();
    until_connected(&[&second], false).await;
    first.wake().ring(["type:work"]);
    assert!(here.take_rung(), "inside the process it works without a connection");
    until_connected(&[&first, &second], true).await;
    // Whatever was missed meanwhile is rung once.
    tokio::time::timeout(PATIENCE, other.rung()).await.unwrap();

    // More topics than fit in one message.
    let mut last = second.wake().subscribe("type:last");
    let many = (0..900).map(|at| format!("type:of_many_types_{at}"));
    first.wake().ring(many.chain(["type:last".to_owned()]));
    tokio::time::timeout(PATIENCE, last.rung()).await.unwrap();
    first.close().await;
    second.close().await;
}
