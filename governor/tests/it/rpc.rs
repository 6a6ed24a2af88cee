//! The calls of GovernorService, good and bad.

use crate::harness::{reason, start, store};
use asyncflow_core::id::TypeName;
use asyncflow_proto::v1::{ListShardsRequest, RunDutyRequest, ShardState};
use asyncflow_store::testing::SqliteFile;
use tonic::Code;
use tonic_types::StatusExt;

#[tokio::test]
async fn status_tells_of_every_duty_and_a_run_shows_in_it() {
    let file = SqliteFile::new();
    let mut governor = start(&file.url()).await;
    let status = governor.until_leading(true).await;
    assert!(status.epoch >= 1 && status.start_time.is_some() && !status.version.is_empty());
    let names: Vec<_> = status.duties.iter().map(|duty| duty.name.as_str()).collect();
    let of_shards = ["roll", "drain", "drop", "reconcile"];
    let first = ["reap", "promote", "retention", "results"];
    let all = [&first[..], &of_shards, &["workflows", "schedules", "speculate"]];
    assert_eq!(names, all.concat());
    // The drop finishes at once what a leader before may have left half done.
    let waits = status.duties.iter().filter(|duty| duty.name != "drop");
    assert!(waits.into_iter().all(|duty| duty.runs == 0 && duty.last_run_time.is_none()));
    for name in names {
        let request = RunDutyRequest { duty: name.to_owned() };
        let duty = governor.client.run_duty(request).await.unwrap().into_inner().duty.unwrap();
        let runs = if name == "drop" { 2 } else { 1 };
        assert_eq!((duty.runs, duty.errors, &*duty.last_error), (runs, 0, ""), "{name}");
        assert!(duty.last_run_time.is_some() && duty.last_run_duration.is_some());
    }
    let unknown = RunDutyRequest { duty: "nap".to_owned() };
    let refused = governor.client.run_duty(unknown).await.unwrap_err();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::NotFound, "UNKNOWN_DUTY"));
    let page = include_str!("../../../docs/errors/UNKNOWN_DUTY.md");
    assert!(page.contains(&format!("RunDuty: {}\n", refused.message())), "{refused}");
}

#[tokio::test]
async fn shards_are_listed_page_by_page_with_their_rows() {
    let file = SqliteFile::new();
    let store = store(&file.url()).await;
    for name in ["alpha", "beta", "gamma"] {
        let name = TypeName::new(name).unwrap();
        store.ensure_type(&name).await.unwrap();
        store.open_shard(&name).await.unwrap();
    }
    let mut governor = start(&file.url()).await;
    let (mut token, mut seen) = (String::new(), Vec::new());
    loop {
        let request =
            ListShardsRequest { page_size: 2, page_token: token, ..ListShardsRequest::default() };
        let page = governor.client.list_shards(request).await.unwrap().into_inner();
        seen.extend(page.shards.into_iter().map(|shard| {
            assert_eq!((shard.number, shard.state()), (1, ShardState::Open));
            assert!(shard.size_bytes > 0 && shard.create_time.is_some());
            assert_eq!((shard.close_time, shard.drain_time, &*shard.archive), (None, None, ""));
            shard.task_type
        }));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["alpha", "beta", "gamma"]);
    let request = ListShardsRequest { task_type: "beta".to_owned(), ..Default::default() };
    let one = governor.client.list_shards(request).await.unwrap().into_inner().shards;
    assert_eq!(one.len(), 1);
}

#[tokio::test]
async fn a_bad_list_names_all_that_is_wrong() {
    let file = SqliteFile::new();
    let mut governor = start(&file.url()).await;
    let bad = ListShardsRequest {
        task_type: "../t".to_owned(),
        page_size: -1,
        page_token: "00ff'; DROP TABLE".to_owned(),
    };
    let refused = governor.client.list_shards(bad).await.unwrap_err();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::InvalidArgument, "INVALID_FIELDS"));
    let fields: Vec<_> = refused
        .get_details_bad_request()
        .unwrap()
        .field_violations
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    assert_eq!(fields, ["task_type", "page_size", "page_token"]);
}
