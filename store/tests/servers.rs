//! The real servers of the tests start, survive a kill -9 with their data, and die with their
//! owner.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use asyncflow_store::testing::{
    Durability, Server, fresh_database, start_mariadb, start_postgres, start_redis,
};
use sea_orm::{ConnectionTrait, Database};

async fn keeps_its_data_over_a_kill(server: &mut Server) {
    let url = fresh_database(server).await;
    let before = Database::connect(&url).await.unwrap();
    before.execute_unprepared("CREATE TABLE t (id BIGINT PRIMARY KEY)").await.unwrap();
    before.execute_unprepared("INSERT INTO t VALUES (7)").await.unwrap();
    server.process().kill();
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port())).is_err());
    server.restart();
    let mut after = Database::connect(&url).await;
    while after.is_err() {
        after = Database::connect(&url).await;
    }
    let inserted_again = after.unwrap().execute_unprepared("INSERT INTO t VALUES (7)").await;
    assert!(inserted_again.unwrap_err().to_string().to_lowercase().contains("duplicate"));
}

#[tokio::test]
async fn mariadb_keeps_its_data_over_a_kill() {
    keeps_its_data_over_a_kill(&mut start_mariadb(Durability::Process)).await;
}

#[tokio::test]
async fn postgres_keeps_its_data_over_a_kill() {
    keeps_its_data_over_a_kill(&mut start_postgres(Durability::Full)).await;
}

#[tokio::test]
async fn redis_listens() {
    let server = start_redis();
    let stream = std::net::TcpStream::connect(("127.0.0.1", server.port()));
    assert!(stream.is_ok());
}
