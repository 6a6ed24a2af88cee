//! Servers that may lose what they acknowledged are found out; those that keep it are not accused.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use asyncflow_store::{
    Store, StoreOptions,
    testing::{
        Durability, SqliteFile, fresh_database, mariadb, postgres, start_mariadb, start_postgres,
    },
};

async fn gaps(url: &str) -> Vec<String> {
    let store = Store::connect(&StoreOptions::new(url)).await.unwrap();
    let gaps = store.durability_gaps().await.unwrap();
    store.close().await;
    gaps
}

#[tokio::test]
async fn a_server_that_syncs_its_log_later_is_named() {
    let gaps_of = async |server| gaps(&fresh_database(server).await).await;
    let mariadb = gaps_of(mariadb()).await;
    assert_eq!(mariadb.len(), 1, "{mariadb:?}");
    assert!(mariadb[0].starts_with("innodb_flush_log_at_trx_commit is 2:"), "{mariadb:?}");
    let postgres = gaps_of(postgres()).await;
    assert_eq!(postgres.len(), 1, "{postgres:?}");
    assert!(postgres[0].starts_with("synchronous_commit is off:"), "{postgres:?}");
}

#[tokio::test]
async fn a_server_that_keeps_what_it_acknowledges_is_not() {
    let none: [String; 0] = [];
    let (mariadb, postgres) = (start_mariadb(Durability::Full), start_postgres(Durability::Full));
    for server in [mariadb, postgres] {
        assert_eq!(gaps(&fresh_database(&server).await).await, none, "{}", server.program());
    }
    assert_eq!(gaps(&SqliteFile::new().url()).await, none);
}
