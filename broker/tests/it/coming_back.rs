//! Many workers come back at the same moment, to a broker that has never heard of them.

use asyncflow_proto::v1::{
    self, broker_service_client::BrokerServiceClient, worker_service_client::WorkerServiceClient,
};
use futures::future::join_all;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::harness::{TestBroker, acquire, refusal, registration};

const WORKERS: usize = 500;
const CHANNELS: usize = 5;
/// So few ordinary calls at once that most of those who come are told to come later.
const LIMITS: [(&str, &str); 2] = [("listen.calls_max", "20"), ("listen.waiting_calls_max", "20")];

async fn channels(t: &TestBroker) -> Vec<Channel> {
    let address = Channel::from_shared(format!("http://{}", t.address)).unwrap();
    let opened = join_all((0..CHANNELS).map(|_| address.connect())).await;
    opened.into_iter().map(Result::unwrap).collect()
}

/// Returns after the time that a broker which has too much to do asks for.
async fn later(status: &Status) {
    let told = (Code::ResourceExhausted, "OVERLOADED".to_owned(), vec![]);
    assert_eq!(refusal(status), told);
    let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    tokio::time::sleep(delay).await;
}

/// Its session, and how often it was told to come later.
async fn register(channel: Channel, number: usize) -> (String, usize) {
    let mut worker = WorkerServiceClient::new(channel);
    let mut refused = 0;
    loop {
        let request = registration(&format!("w{number}"), "a");
        match worker.register_worker(request).await {
            Ok(answer) => return (answer.into_inner().session_id, refused),
            Err(status) => later(&status).await,
        }
        refused += 1;
    }
}

async fn lease(channel: Channel, session: &str) -> v1::Lease {
    let request = v1::AcquireTasksRequest { start: true, ..acquire(session, "1", 1) };
    let answer = WorkerServiceClient::new(channel).acquire_tasks(request).await.unwrap();
    answer.into_inner().tasks.remove(0).lease.unwrap()
}

/// One call each of 500 clients, who are there again too; how many of them were refused.
async fn ask(channels: &[Channel], task_id: &str) -> usize {
    let asks = (0..WORKERS).map(|number| async move {
        let mut broker = BrokerServiceClient::new(channels[number % CHANNELS].clone());
        let request = v1::GetTaskRequest { task_id: task_id.to_owned(), view: 0 };
        broker.get_task(request).await
    });
    let refused = join_all(asks).await.into_iter().filter_map(Result::err);
    refused.inspect(|status| assert_eq!(status.code(), Code::ResourceExhausted)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_heartbeat_is_refused_when_500_workers_come_back() {
    let mut t = TestBroker::with(&LIMITS).await;
    let before = channels(&t).await;
    let spec = || v1::TaskSpec { task_type: "train".to_owned(), ..Default::default() };
    let request = || v1::CreateTaskRequest { task: Some(spec()), ..Default::default() };
    let requests = (0..WORKERS).map(|_| request()).collect();
    t.broker.batch_create_tasks(v1::BatchCreateTasksRequest { requests }).await.unwrap();
    let workers = (0..WORKERS).map(|number| {
        let channel = before[number % CHANNELS].clone();
        async move {
            let (session, refused) = register(channel.clone(), number).await;
            let lease = lease(channel, &session).await;
            (session, lease, refused)
        }
    });
    let workers = join_all(workers).await;
    let late: usize = workers.iter().map(|(_, _, refused)| refused).sum();
    assert!(late > 0, "they do not come at the same moment");

    let next = t.beside(&LIMITS).await;
    t.stop().await;
    let after = channels(&next).await;
    let beats = workers.iter().enumerate().map(|(number, (session_id, lease, _))| {
        let mut worker = WorkerServiceClient::new(after[number % CHANNELS].clone());
        let (session_id, leases) = (session_id.clone(), vec![lease.clone()]);
        let request = v1::HeartbeatRequest { session_id, leases, draining: false };
        async move { worker.heartbeat(request).await }
    });
    let (refused, beats) = tokio::join!(ask(&after, &workers[0].1.task_id), join_all(beats));
    assert!(refused > 0, "the broker has not too much to do");
    for beat in beats {
        let beat = beat.unwrap().into_inner();
        assert_eq!(beat.leases[0].verdict(), v1::LeaseVerdict::Ok);
    }
    println!("{late} registrations and {refused} calls of clients were told to come later");
    next.stop().await;
}
