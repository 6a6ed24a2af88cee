//! Orders that are given by way of one broker, to a worker of another one.

use std::time::Duration;

use asyncflow_proto::{time::duration, v1};
use asyncflow_store::testing::{fresh_database, postgres};

use tonic::Code;

use crate::{
    harness::{TestBroker, acquire},
    host::report,
};

/// Much shorter than the interval of reports, which is the bound without a wake-up.
const AT_ONCE: Duration = Duration::from_secs(2);

impl TestBroker {
    async fn update(&mut self, cordoned: Option<bool>, draining: Option<bool>) -> v1::Host {
        let worker_id = "w1".to_owned();
        let request = v1::UpdateHostRequest { worker_id, cordoned, draining, detach: false };
        self.hosts.update_host(request).await.unwrap().into_inner().host.unwrap()
    }

    /// How many tasks the worker gets within two seconds.
    async fn offered(&mut self, session_id: &str, acquire_id: &str) -> usize {
        let wait = Some(duration(2_000));
        self.acquire(v1::AcquireTasksRequest { wait, ..acquire(session_id, acquire_id, 1) })
            .await
            .len()
    }
}

/// Where brokers wake each other up: PostgreSQL does that itself, Redis for the others.
#[tokio::test]
async fn a_worker_of_another_broker_hears_at_once() {
    let mut a = TestBroker::at(fresh_database(postgres()).await).await;
    let mut b = a.beside(&[]).await;
    while [&a, &b].iter().any(|broker| broker.store.wake().is_connected() != Some(true)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let session_id = b.register("w1", "a").await;
    let request = v1::StreamCommandsRequest { session_id: session_id.clone() };
    let mut commands = b.worker.stream_commands(request).await.unwrap().into_inner();
    // It waits for tasks, and listens meanwhile.
    let offer = Some(v1::HostOffer::default());
    let long = v1::AcquireTasksRequest { offer, ..acquire(&session_id, "long", 1) };
    let mut worker = b.worker.clone();
    let waiting = tokio::spawn(async move { worker.acquire_tasks(long).await });
    tokio::time::sleep(Duration::from_millis(200)).await;

    a.update(Some(true), None).await;
    let heard = tokio::time::timeout(AT_ONCE, commands.message()).await.expect("it is rung");
    let changed = v1::stream_commands_response::Command::OrdersChanged(v1::HostOrdersChanged {});
    assert_eq!(heard.unwrap().unwrap().command, Some(changed.clone()));
    let answer = tokio::time::timeout(AT_ONCE, waiting).await.expect("it ends");
    assert_eq!(answer.unwrap().unwrap().into_inner().tasks, []);
    assert!(b.report(&session_id, report(vec![])).await.cordoned);
    // By this broker, which would give it away at once.
    b.create("train").await;
    assert_eq!(b.offered(&session_id, "1").await, 0);
    a.update(Some(false), None).await;
    let heard = tokio::time::timeout(AT_ONCE, commands.message()).await.expect("it is rung");
    assert_eq!(heard.unwrap().unwrap().command, Some(changed));
    assert!(!b.report(&session_id, report(vec![])).await.cordoned);
    b.start_one(&session_id, "2").await;
    drop(commands);
    b.stop().await;
    a.stop().await;
}

/// On SQLite nothing goes from broker to broker but the database.
#[tokio::test]
async fn without_a_wake_up_it_hears_with_its_next_report() {
    let mut a = TestBroker::start().await;
    let mut b = a.beside(&[]).await;
    let session_id = b.register("w1", "a").await;
    // What this broker knows of the session is from before the order.
    assert_eq!(b.offered(&session_id, "1").await, 0);
    a.update(Some(true), None).await;
    // By this broker, which would give it away at once.
    b.create("train").await;
    assert!(b.report(&session_id, report(vec![])).await.cordoned);
    assert_eq!(b.offered(&session_id, "2").await, 0, "with the report the broker knows it, too");
    a.update(Some(false), None).await;
    assert!(!b.report(&session_id, report(vec![])).await.cordoned);
    b.start_one(&session_id, "3").await;
    b.stop().await;
    a.stop().await;
}

/// Who has drained a host has taken it out of use.
#[tokio::test]
async fn a_drained_host_stays_closed_when_its_worker_is_started_again() {
    let mut t = TestBroker::start().await;
    let first = t.register("w1", "a").await;
    t.update(None, Some(true)).await;
    assert!(t.report(&first, report(vec![])).await.draining);
    let request = v1::DeregisterWorkerRequest { session_id: first };
    t.worker.deregister_worker(request).await.unwrap();

    let second = t.register("w1", "b").await;
    t.create("train").await;
    let orders = t.report(&second, report(vec![])).await;
    assert!(orders.cordoned && !orders.draining, "it stays, and takes nothing: {orders:?}");
    assert_eq!(t.offered(&second, "1").await, 0);
    let hosts = t.hosts.list_hosts(v1::ListHostsRequest::default()).await.unwrap().into_inner();
    assert!(hosts.hosts[0].orders.as_ref().unwrap().cordoned, "and the list says so");
    t.update(Some(false), Some(false)).await;
    t.start_one(&second, "2").await;
    t.stop().await;
}

/// Nothing but `uncordon` opens it again, and nobody need start a worker for that.
#[tokio::test]
async fn a_drained_host_is_opened_again_while_its_worker_is_away() {
    let mut t = TestBroker::start().await;
    let first = t.register("w1", "a").await;
    t.register("w0", "a").await;
    t.register("w2", "a").await;
    t.update(None, Some(true)).await;
    let request = v1::DeregisterWorkerRequest { session_id: first };
    t.worker.deregister_worker(request).await.unwrap();

    // It is listed in its place, with what is known of it.
    let mut hosts = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListHostsRequest { page_size: 1, page_token };
        let page = t.hosts.list_hosts(request).await.unwrap().into_inner();
        assert_eq!(page.hosts.len(), 1);
        hosts.extend(page.hosts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let ids = hosts.iter().map(|host| host.worker.as_ref().unwrap().worker_id.as_str());
    assert_eq!(ids.collect::<Vec<_>>(), ["w0", "w1", "w2"]);
    let orders = v1::HostOrders { cordoned: true, ..v1::HostOrders::default() };
    let left = hosts[1].worker.as_ref().unwrap().heartbeat_time;
    assert!(left.is_some(), "and since when it is away");
    let worker =
        v1::Worker { worker_id: "w1".into(), heartbeat_time: left, ..v1::Worker::default() };
    let away = v1::Host { worker: Some(worker), orders: Some(orders), ..v1::Host::default() };
    assert_eq!(hosts[1], away);

    let detach = v1::UpdateHostRequest {
        worker_id: "w1".into(),
        detach: true,
        ..v1::UpdateHostRequest::default()
    };
    let nobody = t.hosts.update_host(detach).await.unwrap_err();
    assert_eq!(nobody.code(), Code::NotFound, "nobody is there who could end");
    let free = t.update(Some(false), Some(false)).await;
    let worker = v1::Worker { heartbeat_time: None, ..away.worker.clone().unwrap() };
    let orders = Some(v1::HostOrders::default());
    assert_eq!(free, v1::Host { worker: Some(worker), orders, ..away });
    let hosts = t.hosts.list_hosts(v1::ListHostsRequest::default()).await.unwrap().into_inner();
    assert_eq!(hosts.hosts.len(), 2, "now nothing is known of it any more");
    let second = t.register("w1", "b").await;
    t.create("train").await;
    assert_eq!(t.report(&second, report(vec![])).await, v1::HostOrders::default());
    t.start_one(&second, "1").await;
    t.stop().await;
}
