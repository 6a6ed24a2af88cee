//! A create is repeated with its request id after the type was rolled over: the answer is the first
//! task, which is in the older shard, and nothing is run twice.

use asyncflow_proto::v1::{CountTasksRequest, CreateTaskRequest, ShardState};
use asyncflow_tests::{Cluster, Seen, Shape, sh};

use super::{run_one, succeeded, until_all_have_read_the_registry};

async fn repeated_request(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let (client, governor) = (cluster.client_without_retries(0), cluster.governor(0).await);
    let request = || CreateTaskRequest {
        task: Some(sh("true")),
        request_id: "once".to_owned(),
        ..CreateTaskRequest::default()
    };
    let first = client.create_with(request()).await.unwrap().task.unwrap();
    succeeded(&client, &first.id).await;
    for old in [1, 2] {
        governor.roll().await;
        governor.until_state(old, ShardState::Drained).await;
        until_all_have_read_the_registry(cluster).await;
        let newer = run_one(&client).await;
        assert!(newer.id.starts_with(&format!("command-{}-", old + 1)), "{}", newer.id);

        let Ok(again) = client.create_with(request()).await else {
            return Err("the repeated create fails");
        };
        if again.task.unwrap().id != first.id {
            return Err("the repeated create makes another task");
        }
        assert!(again.deduplicated);
    }
    let counts = client.count(CountTasksRequest::default()).await.unwrap();
    assert_eq!(counts.total, 3);
    Ok(())
}
with_and_without_its_guard!(
    repeated_request,
    Shape::default(),
    off & ["insert.knows_requests"],
    "the repeated create fails"
);
