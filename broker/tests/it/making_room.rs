//! Tasks that are asked to make room for others, and who has that room then.

use std::time::Duration;

use asyncflow_proto::v1;

use crate::{
    harness::TestBroker,
    placement::{Host, gpus, names, spec},
};

const SOON: (&str, &str) = ("placement.preempt_after_ms", "200");

fn of(name: &str, user: &str, resources: v1::Resources) -> v1::TaskSpec {
    v1::TaskSpec { user: user.into(), ..spec(name, resources) }
}

fn may_stop() -> v1::Resources {
    v1::Resources { preemptible: true, ..gpus(1) }
}

#[tokio::test]
async fn a_task_makes_room_for_that_of_a_user_who_has_nothing() {
    let mut t = TestBroker::with(&[("placement.preempt_after_ms", "200")]).await;
    let mut host = Host::start(&mut t, "a", 2).await;
    t.create_spec(of("stays", "ana", gpus(1))).await;
    t.create_spec(of("may stop", "ana", may_stop())).await;
    while host.running.len() < 2 {
        host.take(&mut t, 5_000).await;
    }
    t.create_spec(of("his", "bob", gpus(1))).await;
    let mut orders = Vec::new();
    for _ in 0..60 {
        assert!(host.take(&mut t, 200).await.is_empty());
        orders = host.report(&mut t).await.tasks;
        if !orders.is_empty() {
            break;
        }
    }
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].reason(), v1::FailureReason::Preempted);
    assert!(orders[0].message.contains("of bob"), "{}", orders[0].message);
    let asked = host.running[&orders[0].task_id].task.as_ref().unwrap();
    assert_eq!(asked.name, "may stop");

    host.release(&mut t, &orders[0].task_id).await;
    assert_eq!(names(&host.take(&mut t, 5_000).await), ["his"]);
    t.stop().await;
}

/// A host whose GPU is used by one that may stop, of ana; bob has another GPU, and a task that is
/// more important.
async fn crowded(t: &mut TestBroker) -> (Host, Host) {
    let (mut a, mut b) = (Host::start(t, "a", 1).await, Host::start(t, "b", 1).await);
    let on_b = v1::Resources { host: "b".into(), ..gpus(1) };
    t.create_spec(of("of bob", "bob", on_b)).await;
    let on_a = v1::Resources { host: "a".into(), ..may_stop() };
    t.create_spec(of("victim", "ana", on_a)).await;
    while a.running.is_empty() || b.running.is_empty() {
        a.take(t, 300).await;
        b.take(t, 300).await;
    }
    let urgent = v1::TaskSpec { priority: Some(5), ..of("urgent", "bob", gpus(1)) };
    t.create_spec(urgent).await;
    (a, b)
}

#[tokio::test]
async fn one_that_has_made_room_does_not_take_it_back() {
    let mut t = TestBroker::with(&[SOON]).await;
    let (mut a, b) = crowded(&mut t).await;
    for _ in 0..60 {
        assert!(a.take(&mut t, 200).await.is_empty());
        b.report(&mut t).await;
        if let [order] = &a.report(&mut t).await.tasks[..] {
            a.release(&mut t, &order.task_id).await;
            break;
        }
    }
    assert!(a.running.is_empty(), "nobody was asked");
    // The one that has left has less, and would be the next.
    assert_eq!(names(&a.take(&mut t, 5_000).await), ["urgent"]);
    t.stop().await;
}

#[tokio::test]
async fn nobody_makes_room_for_tasks_of_a_paused_type() {
    let mut t = TestBroker::with(&[SOON]).await;
    let mut host = Host::start(&mut t, "a", 1).await;
    t.create_spec(of("victim", "ana", may_stop())).await;
    while host.running.is_empty() {
        host.take(&mut t, 5_000).await;
    }
    let other = v1::TaskSpec { task_type: "render".into(), ..of("his", "bob", gpus(1)) };
    t.create_spec(v1::TaskSpec { priority: Some(5), ..other }).await;
    let paused = v1::TaskType { name: "render".into(), paused: true, ..Default::default() };
    let request = v1::UpdateTaskTypeRequest {
        task_type: Some(paused),
        update_mask: Some(prost_types::FieldMask { paths: vec!["paused".into()] }),
    };
    t.broker.update_task_type(request).await.unwrap();
    // It is looked for every 3 seconds.
    for _ in 0..20 {
        assert!(host.take(&mut t, 300).await.is_empty());
        assert!(host.report(&mut t).await.tasks.is_empty(), "it makes room for nobody");
    }
    t.stop().await;
}

#[tokio::test]
async fn a_task_is_made_room_for_through_one_of_two_brokers() {
    let settings = [SOON, ("dispatch.lock", "database"), ("dispatch.poll_interval_ms", "50")];
    let mut first = TestBroker::with(&settings).await;
    // Each looks every 3 seconds, and not at the same moment.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut second = first.beside(&settings).await;
    let mut a = Host::start(&mut first, "a", 2).await;
    let mut b = Host::start(&mut second, "b", 2).await;
    for number in 0..4 {
        first.create_spec(of(&number.to_string(), "ana", may_stop())).await;
    }
    while a.running.len() + b.running.len() < 4 {
        a.take(&mut first, 300).await;
        b.take(&mut second, 300).await;
    }
    first.create_spec(of("his", "bob", gpus(1))).await;
    let mut most = 0;
    for _ in 0..24 {
        let (of_a, of_b) = tokio::join!(a.take(&mut first, 300), b.take(&mut second, 300));
        assert!(of_a.is_empty() && of_b.is_empty());
        let asked =
            a.report(&mut first).await.tasks.len() + b.report(&mut second).await.tasks.len();
        most = most.max(asked);
    }
    assert_eq!(most, 1);
    second.stop().await;
    first.stop().await;
}

/// The one that has left stands first in the queue, and the other broker has asked nobody: it must
/// know all the same whose the room is.
#[tokio::test]
async fn room_that_was_made_through_one_broker_is_kept_by_another() {
    let settings = [SOON, ("dispatch.lock", "database"), ("dispatch.poll_interval_ms", "50")];
    let mut first = TestBroker::with(&settings).await;
    let mut second = first.beside(&settings).await;
    let mut host = Host::start(&mut first, "a", 2).await;
    first.create_spec(of("victim", "ana", may_stop())).await;
    first.create_spec(of("stays", "ana", gpus(1))).await;
    while host.running.len() < 2 {
        host.take(&mut first, 300).await;
    }
    first.create_spec(of("his", "bob", gpus(1))).await;
    let mut asked = None;
    for _ in 0..60 {
        assert!(host.take(&mut first, 200).await.is_empty());
        asked = host.report(&mut first).await.tasks.pop();
        if asked.is_some() {
            break;
        }
    }
    host.release(&mut first, &asked.expect("somebody is asked").task_id).await;
    assert!(host.report(&mut first).await.tasks.is_empty(), "it is done");
    assert_eq!(names(&host.take(&mut second, 5_000).await), ["his"]);
    second.stop().await;
    first.stop().await;
}
