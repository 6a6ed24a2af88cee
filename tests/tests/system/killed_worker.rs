//! kill -9 of a worker in mid-task. It comes back soon: its tasks have gone on. It does not: a
//! second attempt goes on from the saved context, nothing counts as a failure of the task, and what
//! the dead worker left behind is gone once it is back.

use std::path::Path;

use asyncflow_proto::v1::{AttemptOutcome, LogStream, StreamTaskLogsRequest, TaskState};
use asyncflow_tests::{
    Backend, Cluster, LEASE, Shape, Stopwatch, is_alive, sh, until, until_started,
};
use futures::TryStreamExt;

async fn second_attempt_goes_on_from_the_context(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape { workers: 2, ..Shape::default() }).await;
    let client = cluster.client(0);
    let pid_file = cluster.scratch().join("pid");
    let script = format!(
        r#"if [ "$ASYNCFLOW_ATTEMPT" = 1 ]; then
            echo $$ > {}
            echo '{{"event":"context","data":{{"epoch":7}},"stage":"one"}}' >> "$ASYNCFLOW_EVENTS"
            exec sleep 300
        fi
        [ "$ASYNCFLOW_STAGE" = one ] || exit 64
        printf '{{"event":"result","data":%s}}\n' "$(cat "$ASYNCFLOW_CONTEXT")" \
            >> "$ASYNCFLOW_EVENTS""#,
        pid_file.display()
    );
    let created = client.create(sh(&script)).await.unwrap();
    let saved = until("the context is saved", || async {
        let task = client.get(&created.id).await.unwrap();
        (task.context_version == 1).then_some(task)
    })
    .await;
    let holder: usize = saved.worker_id.strip_prefix("worker-").unwrap().parse().unwrap();
    cluster.workers[holder].kill();
    let killed = Stopwatch::start();

    let task = client.wait(&created.id, None).await.unwrap();
    killed.tell("another worker has done it");
    assert_eq!(task.state(), TaskState::Succeeded, "{:?} {}", task.failure, cluster.logs());
    assert_eq!((task.attempt, task.failures, task.crashes), (2, 0, 1));
    assert_eq!(task.result.unwrap().data, br#"{"epoch":7}"#[..]);
    let attempts = client.attempts(&created.id).await.unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome()).collect();
    assert_eq!(outcomes, [AttemptOutcome::Lost, AttemptOutcome::Succeeded]);

    let pid = std::fs::read_to_string(&pid_file).unwrap();
    assert!(is_alive(&pid), "a task outlives its worker");
    cluster.workers[holder].restart();
    until("the orphan is gone", || async { (!is_alive(&pid)).then_some(()) }).await;
}
on_each_database!(second_attempt_goes_on_from_the_context);

/// The worker comes back before its lease runs out: the task has never noticed.
async fn a_restarted_worker_goes_on_with_what_it_held(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    let go = cluster.scratch().join("go");
    let script = format!(
        r#"echo '{{"event":"stage","stage":"begun"}}' >> "$ASYNCFLOW_EVENTS"
        n=0; while [ ! -e {} ]; do echo "line $n"; n=$((n + 1)); sleep 0.02; done
        printf '{{"event":"result","data":%s}}\n' $$ >> "$ASYNCFLOW_EVENTS"; exit 0"#,
        go.display()
    );
    let created = client.create(sh(&script)).await.unwrap();
    let begun = until("it runs", || async {
        let task = client.get(&created.id).await.unwrap();
        (task.stage == "begun").then_some(task)
    });
    begun.await;
    cluster.workers[0].kill();
    cluster.workers[0].restart();
    // Longer than its lease: it is held by the new process.
    tokio::time::sleep(LEASE + std::time::Duration::from_secs(1)).await;
    std::fs::write(&go, "").unwrap();
    let task = client.wait(&created.id, None).await.unwrap();
    let counts = (task.state(), task.attempt, task.crashes);
    assert_eq!(counts, (TaskState::Succeeded, 1, 0), "{}", cluster.logs());
    assert_eq!(client.attempts(&created.id).await.unwrap().len(), 1);
    let request = StreamTaskLogsRequest { task_id: created.id, follow: true, ..Default::default() };
    let pieces: Vec<_> = client.logs(request).try_collect().await.unwrap();
    let pieces = pieces.iter().filter(|piece| piece.stream() == LogStream::Stdout);
    let text: Vec<u8> = pieces.flat_map(|piece| piece.data.iter().copied()).collect();
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().count() > 50, "{text}");
    for (number, line) in text.lines().enumerate() {
        assert_eq!(line, format!("line {number}"), "{text}");
    }
}
on_each_database!(a_restarted_worker_goes_on_with_what_it_held);

/// The line that a program has written.
async fn written(file: &Path) -> String {
    until("it is written", || async {
        let text = std::fs::read_to_string(file).ok()?;
        text.ends_with('\n').then(|| text.trim().to_owned())
    })
    .await
}

fn kill(pid: &str) {
    let killed = std::process::Command::new("kill").args(["-KILL", pid]).status();
    assert!(killed.unwrap().success());
}

/// Worker and shim are killed when the program has saved contexts of which no broker has heard: the
/// next process of the worker tells them first.
async fn what_was_saved_while_nobody_listened_is_not_lost(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    let [shim, go, saved] = ["shim", "go", "saved"].map(|name| cluster.scratch().join(name));
    let script = format!(
        r#"if [ "$ASYNCFLOW_ATTEMPT" = 1 ]; then
            echo $PPID > {}
            while [ ! -e {} ]; do sleep 0.05; done
            for n in 1 2 3; do
                printf '{{"event":"context","data":%s,"stage":"s%s"}}\n' $n $n \
                    >> "$ASYNCFLOW_EVENTS"
            done
            echo saved > {}
            exec sleep 300
        fi
        printf '{{"event":"result","data":%s}}\n' "$(cat "$ASYNCFLOW_CONTEXT")" \
            >> "$ASYNCFLOW_EVENTS""#,
        shim.display(),
        go.display(),
        saved.display()
    );
    let created = client.create(sh(&script)).await.unwrap();
    let shim = written(&shim).await;
    cluster.brokers[0].kill();
    std::fs::write(&go, "").unwrap();
    written(&saved).await;
    cluster.workers[0].kill();
    kill(&shim);
    cluster.workers[0].restart();
    cluster.brokers[0].restart();

    let task = client.wait(&created.id, None).await.unwrap();
    let counts = (task.state(), task.attempt, task.failures, task.crashes);
    assert_eq!(counts, (TaskState::Succeeded, 2, 0, 1), "{task:?} {}", cluster.logs());
    assert_eq!((task.context_version, &*task.result.unwrap().data), (3, &b"3"[..]));
}
on_each_database!(what_was_saved_while_nobody_listened_is_not_lost);

/// Worker and shim are killed, and the worker comes back before its lease runs out: nobody waits
/// for that. What the program had started in a session of its own is gone before the next attempt.
async fn a_restarted_worker_gives_back_what_it_cannot_go_on_with(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape { governors: 0, ..Shape::default() }).await;
    let client = cluster.client(0);
    let [shim, left] = ["shim", "left"].map(|name| cluster.scratch().join(name));
    let script = format!(
        r#"if [ "$ASYNCFLOW_ATTEMPT" = 2 ]; then
            grep -q '^State:[^Z]*$' "/proc/$(cat {1})/status" && exit 65
            exit 0
        fi
        setsid sh -c 'echo $$ > {1}; exec sleep 300' &
        echo $PPID > {0}
        exec sleep 300"#,
        shim.display(),
        left.display()
    );
    let created = client.create(sh(&script)).await.unwrap();
    let shim = written(&shim).await;
    assert!(is_alive(&written(&left).await));
    cluster.workers[0].kill();
    kill(&shim);
    cluster.workers[0].restart();
    let task = client.wait(&created.id, None).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 2), "{}", cluster.logs());
}
on_each_database!(a_restarted_worker_gives_back_what_it_cannot_go_on_with);

/// The task ends while no broker is there to be told, and then its worker is killed too: what is in
/// the worker's journal is delivered by the next process, and nothing is run again.
async fn an_outcome_outlives_broker_and_worker(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    let go = cluster.scratch().join("go");
    let script = format!(
        r#"while [ ! -e {} ]; do sleep 0.05; done
        echo '{{"event":"result","data":"kept"}}' >> "$ASYNCFLOW_EVENTS""#,
        go.display()
    );
    let created = client.create(sh(&script)).await.unwrap();
    until_started(&client, &created.id).await;
    cluster.brokers[0].kill();
    std::fs::write(&go, "").unwrap();
    let entry = cluster.scratch().join("worker-0/data/journal");
    let entry = entry.join(format!("{}.1.complete", created.id));
    until("the outcome is in the journal", || async { entry.is_file().then_some(()) }).await;
    cluster.workers[0].kill();
    cluster.brokers[0].restart();
    cluster.until_broker_answers(0).await;
    cluster.workers[0].restart();

    let task = client.wait(&created.id, None).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 1), "{}", cluster.logs());
    assert_eq!(task.result.unwrap().data, br#""kept""#[..]);
    until("the journal is empty", || async { (!entry.exists()).then_some(()) }).await;
}
on_each_database!(an_outcome_outlives_broker_and_worker);

/// The same, and the worker comes back when the next attempt runs elsewhere: its end is refused,
/// and kept for people.
async fn an_outcome_that_comes_too_late_is_kept(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    let go = cluster.scratch().join("go");
    let script = format!(
        r#"while [ ! -e {}$ASYNCFLOW_ATTEMPT ]; do sleep 0.05; done
        printf '{{"event":"result","data":%s}}\n' $ASYNCFLOW_ATTEMPT >> "$ASYNCFLOW_EVENTS""#,
        go.display()
    );
    let go = |attempt: i32| std::fs::write(format!("{}{attempt}", go.display()), "").unwrap();
    let id = client.create(sh(&script)).await.unwrap().id;
    until_started(&client, &id).await;
    cluster.brokers[0].kill();
    go(1);
    let data = cluster.scratch().join("worker-0/data");
    let entry = |dir: &str| data.join(dir).join(format!("{id}.1.complete"));
    until("the outcome is in the journal", || async { entry("journal").is_file().then_some(()) })
        .await;
    cluster.workers[0].kill();
    cluster.brokers[0].restart();
    cluster.until_broker_answers(0).await;
    let worker = cluster.start_worker(1);
    cluster.workers.push(worker);
    until("the next attempt runs", || async {
        let task = client.get(&id).await.unwrap();
        (task.attempt == 2 && task.start_time.is_some()).then_some(())
    })
    .await;

    cluster.workers[0].restart();
    until("the outcome is kept", || async { entry("rejected").is_file().then_some(()) }).await;
    assert!(!entry("journal").exists());
    let task = client.get(&id).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Running, 2), "{}", cluster.logs());
    go(2);
    let task = client.wait(&id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{}", cluster.logs());
    assert_eq!(task.result.unwrap().data, b"2"[..]);
    let attempts = client.attempts(&id).await.unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome()).collect();
    assert_eq!(outcomes, [AttemptOutcome::Lost, AttemptOutcome::Succeeded]);
}
on_each_database!(an_outcome_that_comes_too_late_is_kept);
