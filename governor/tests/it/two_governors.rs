//! One leads, the other stands by and takes over, whatever becomes of the first.

use crate::harness::{Governor, reason, start, store};
use asyncflow_proto::v1::{GetLeaderRequest, ResignRequest, RunDutyRequest};
use asyncflow_store::{
    LeaderFence,
    testing::{SqliteFile, fresh_database, mariadb, postgres},
};
use tonic::Code;
use tonic_types::StatusExt;

async fn leader_and_standby(url: &str) -> (Governor, Governor) {
    let mut first = start(url).await;
    first.until_leading(true).await;
    (first, start(url).await)
}

async fn takes_over_from_a_killed_one(url: &str) {
    let (mut first, mut second) = leader_and_standby(url).await;
    let of_first = first.status().await;
    let leader = second.client.get_leader(GetLeaderRequest {}).await.unwrap().into_inner();
    assert_eq!((&leader.governor_id, leader.epoch), (&of_first.governor_id, of_first.epoch));
    assert!(!second.status().await.leading);

    // Dropped in mid-life: it does not get to resign.
    first.task.abort();
    assert!(first.task.await.unwrap_err().is_cancelled());
    let of_second = second.until_leading(true).await;
    assert_eq!(of_second.epoch, of_first.epoch + 1);
    let old = LeaderFence { holder: of_first.governor_id, epoch: of_first.epoch };
    let refused = store(url).await.delete_stale_workers(0, Some(&old)).await;
    assert!(matches!(refused, Err(asyncflow_store::StoreError::NotLeader)), "{refused:?}");
    second.shutdown.cancel();
    second.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_second_takes_over_from_a_killed_first_on_sqlite() {
    takes_over_from_a_killed_one(&SqliteFile::new().url()).await;
}

#[tokio::test]
async fn the_second_takes_over_from_a_killed_first_on_mariadb() {
    takes_over_from_a_killed_one(&fresh_database(mariadb()).await).await;
}

#[tokio::test]
async fn the_second_takes_over_from_a_killed_first_on_postgres() {
    takes_over_from_a_killed_one(&fresh_database(postgres()).await).await;
}

#[tokio::test]
async fn one_that_resigns_or_ends_hands_over_and_a_standby_does_nothing() {
    let file = SqliteFile::new();
    let (mut first, mut second) = leader_and_standby(&file.url()).await;
    // It knows whom to name once it has looked.
    while second.status().await.epoch == 0 {
        tokio::task::yield_now().await;
    }
    let duty = || RunDutyRequest { duty: "reap".to_owned() };
    let refused = second.client.run_duty(duty()).await.unwrap_err();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::FailedPrecondition, "NOT_LEADER"));
    let info = refused.get_details_error_info().unwrap();
    let of_first = first.status().await;
    assert_eq!(info.metadata["leader"], of_first.governor_id);
    let refused = second.client.resign(ResignRequest {}).await.unwrap_err();
    assert_eq!(reason(&refused), "NOT_LEADER");

    first.client.resign(ResignRequest {}).await.unwrap();
    let of_second = second.until_leading(true).await;
    first.until_leading(false).await;
    assert_eq!(second.client.run_duty(duty()).await.unwrap().into_inner().duty.unwrap().runs, 1);
    // Whoever is asked, the last run is told, and who did it tells how often it ran there.
    let (here, there) = (second.last_run("reap").await, first.last_run("reap").await);
    assert_eq!((here.runs, there.runs), (1, 0));
    assert!(here.last_run_time.is_some() && here.lag.is_some() && there.lag.is_none());
    assert_eq!(here.last_run_time, there.last_run_time);
    assert_eq!(here.last_run_duration, there.last_run_duration);

    second.shutdown.cancel();
    second.task.await.unwrap().unwrap();
    let again = first.until_leading(true).await;
    assert_eq!(again.epoch, of_second.epoch + 1);
}
