//! What a worker has sent while its lease was in force arrives when it is so no longer, as if the
//! worker had been stopped between its last look at the lease and the call: the database refuses
//! it.

use std::path::PathBuf;

use asyncflow_proto::v1::{AttemptOutcome, Task, TaskState};
use asyncflow_sdk::Client;
use asyncflow_tests::{
    Cluster, Seen, Shape,
    proxy::{Direction, Flow, Proxy},
    sh, until,
};

const SHAPE: Shape = Shape { workers: 0, slots: 1, ..Shape::SMALL };

/// A task whose first attempt has ended; every byte of the call that tells it is on its way.
struct LateEnd {
    client: Client,
    id: String,
    go: PathBuf,
    link: Proxy,
    /// Where the worker keeps what it could not tell.
    rejected: PathBuf,
}

impl LateEnd {
    async fn on_its_way(cluster: &mut Cluster) -> Self {
        let (client, link) = (cluster.client(0), Proxy::start(&cluster.broker_address(0)));
        let worker = cluster.start_worker_by(0, std::iter::once(link.address()));
        cluster.workers.push(worker);
        let go = cluster.scratch().join("go");
        let script = format!(
            r#"while [ -d {1} ] && [ ! -e {0}$ASYNCFLOW_ATTEMPT ]; do sleep 0.05; done
            printf '{{"event":"result","data":"%s"}}\n' $ASYNCFLOW_ATTEMPT >> "$ASYNCFLOW_EVENTS""#,
            go.display(),
            // Where the planted bug shows, nobody ends the second attempt.
            cluster.scratch().display()
        );
        let id = client.create(sh(&script)).await.unwrap().id;
        let data = cluster.scratch().join("worker-0/data");
        let entry = format!("{id}.1.complete");
        let (told, rejected) = (data.join("journal").join(&entry), data.join("rejected"));
        let late = Self { client, id, go, link, rejected: rejected.join(&entry) };
        late.until_attempt_runs(1).await;
        late.link.set(Direction::Up, Flow::Hold);
        late.let_end(1);
        until("the worker tells the end", || async { told.exists().then_some(()) }).await;
        late
    }

    fn let_end(&self, attempt: i32) {
        std::fs::write(format!("{}{attempt}", self.go.display()), "").unwrap();
    }

    async fn task(&self) -> Task {
        self.client.get(&self.id).await.unwrap()
    }

    async fn until_attempt_runs(&self, attempt: i32) {
        until("the attempt runs", || async {
            let task = self.task().await;
            (task.attempt == attempt && task.start_time.is_some()).then_some(())
        })
        .await;
    }

    /// Lets the call arrive. Whether it was refused; else the task has ended by it.
    async fn is_refused(&self) -> bool {
        self.link.set(Direction::Up, Flow::Forward);
        until("the call is answered", || async {
            let has_ended = self.task().await.state() == TaskState::Succeeded;
            (has_ended || self.rejected.exists()).then_some(!has_ended)
        })
        .await
    }

    /// The second attempt ends the task.
    async fn ends_by_the_second(&self) {
        self.until_attempt_runs(2).await;
        self.let_end(2);
        let task = self.client.wait(&self.id, None).await.unwrap();
        assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 2));
        assert_eq!(task.result.unwrap().data, r#""2""#);
        let attempts = self.client.attempts(&self.id).await.unwrap();
        let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome()).collect();
        assert_eq!(outcomes, [AttemptOutcome::Lost, AttemptOutcome::Succeeded]);
    }
}

async fn while_the_next_attempt_runs(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let late = LateEnd::on_its_way(cluster).await;
    let worker = cluster.start_worker(1);
    cluster.workers.push(worker);
    late.until_attempt_runs(2).await;
    if !late.is_refused().await {
        return Err("a running attempt is ended by the worker of the one before");
    }
    let task = late.task().await;
    assert_eq!((task.state(), task.attempt), (TaskState::Running, 2));
    late.ends_by_the_second().await;
    Ok(())
}
with_and_without_its_guard!(
    while_the_next_attempt_runs,
    SHAPE,
    off & ["settle.fence"],
    "a running attempt is ended by the worker of the one before"
);

async fn while_the_task_waits_again(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let late = LateEnd::on_its_way(cluster).await;
    until("the task was taken back", || async {
        (late.task().await.state() == TaskState::Pending).then_some(())
    })
    .await;
    if !late.is_refused().await {
        return Err("a task that nobody runs is ended");
    }
    late.ends_by_the_second().await;
    Ok(())
}
with_and_without_its_guard!(
    while_the_task_waits_again,
    SHAPE,
    off & ["settle.state", "attempts.end_once"],
    "a task that nobody runs is ended"
);
