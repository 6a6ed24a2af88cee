//! The real servers of the tests start, survive a kill -9 with their data, and die with their
//! owner.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use asyncflow_core::id::TypeName;
use asyncflow_store::{
    Store, StoreOptions,
    testing::{
        Durability, Server, fresh_database, hold_snapshot, mariadb, open_transactions, postgres,
        server_work, start_mariadb, start_postgres, start_redis,
    },
};
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};

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

/// Else tests that start a server disturb those of another process that sort on disk just then.
#[test]
fn a_mariadb_that_starts_leaves_the_temporary_tables_of_others() {
    let of_another = tempfile::Builder::new().prefix("#sql-temptable-").suffix(".MAI").tempfile();
    let of_another = of_another.unwrap();
    start_mariadb(Durability::Process);
    assert!(of_another.path().exists(), "{} was removed", of_another.path().display());
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

/// An empty installation, and a connection that looks at the server.
async fn installed(server: &Server) -> (Store, DatabaseConnection) {
    let url = fresh_database(server).await;
    let store = Store::connect(&StoreOptions::new(&url)).await.unwrap();
    store.migrate().await.unwrap();
    (store, Database::connect(&url).await.unwrap())
}

#[tokio::test]
async fn a_write_is_a_commit_and_bytes_in_the_log() {
    for server in [mariadb(), postgres()] {
        let (store, _) = installed(server).await;
        let before = server_work(&store).await.unwrap().unwrap();
        store.ensure_type(&TypeName::new("work").unwrap()).await.unwrap();
        let done = server_work(&store).await.unwrap().unwrap().since(before);
        assert!(done.commits > 0 && done.log_bytes > 0, "{}: {done:?}", server.program());
        store.close().await;
    }
}

#[tokio::test]
async fn a_snapshot_is_held_until_it_is_dropped() {
    let mariadb_holds = "SELECT COUNT(*) FROM information_schema.innodb_trx \
                         WHERE trx_isolation_level = 'REPEATABLE READ'";
    let postgres_holds = "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL \
                          AND state = 'idle in transaction' AND datname = current_database()";
    for (server, sql) in [(mariadb(), mariadb_holds), (postgres(), postgres_holds)] {
        let (store, looking) = installed(server).await;
        // MariaDB looks anew only when nobody has asked for 100 ms.
        let until = async |wanted: i64| {
            for _ in 0..40 {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let statement = Statement::from_string(looking.get_database_backend(), sql);
                let row = looking.query_one_raw(statement).await.unwrap().unwrap();
                if row.try_get_by_index::<i64>(0).unwrap() == wanted {
                    return;
                }
            }
            panic!("{} never has {wanted} held snapshots", server.program());
        };
        until(0).await;
        let held = hold_snapshot(&store).await.unwrap();
        until(1).await;
        drop(held);
        until(0).await;
        store.close().await;
    }
}

#[tokio::test]
async fn a_transaction_that_stands_open_is_told() {
    for server in [mariadb(), postgres()] {
        let (store, _) = installed(server).await;
        let begun = hold_snapshot(&store).await.unwrap();
        // MariaDB looks anew only when nobody has asked for 100 ms.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let open = async |at_least| open_transactions(&store, at_least).await.unwrap();
        assert!(!open(Duration::ZERO).await.is_empty(), "{}", server.program());
        let young = open(Duration::from_secs(3600)).await;
        assert!(young.is_empty(), "{}: {young:?}", server.program());
        drop(begun);
        store.close().await;
    }
}

/// sqlx keeps its sockets to itself, so another connection of this process stands for them.
#[tokio::test]
async fn connections_do_not_wait_for_acknowledgements() {
    for server in [mariadb(), postgres()] {
        let beside = std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        beside.set_nodelay(false).unwrap();
        let url = fresh_database(server).await;
        let store = Store::connect(&StoreOptions::new(url)).await.unwrap();
        assert!(beside.nodelay().unwrap(), "{}", server.program());
        store.close().await;
    }
}
