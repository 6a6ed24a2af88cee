//! A task hangs on one host while its like take a moment: it gets a twin on the other host, ends
//! with the twin's result, and what hangs is killed.

use asyncflow_proto::v1::{
    AttemptOutcome, FailureReason, Speculation, TaskState, TaskType, UpdateTaskTypeRequest,
};
use asyncflow_tests::{Backend, Cluster, Shape, is_alive, sh, until};

/// Tasks that tell what is usual.
const SAMPLE: i32 = 3;

/// Two workers, which know one of so many brokers each, and commands whose stragglers get twins.
async fn speculating(backend: Backend, brokers: usize) -> Cluster {
    let shape = Shape { brokers, workers: 0, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    for n in 0..2 {
        let worker = cluster.start_worker_at(n, &[n % brokers]);
        cluster.workers.push(worker);
    }
    let client = cluster.client(0);
    for _ in 0..SAMPLE {
        let quick = client.create(sh("exit 0")).await.unwrap();
        client.wait(&quick.id, None).await.unwrap();
    }
    let speculation = Speculation {
        factor: 1.5,
        min_sample: SAMPLE,
        max_percent: 10,
        min_running_time: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
    };
    let task_type =
        TaskType { name: "command".into(), speculation: Some(speculation), ..TaskType::default() };
    let paths = vec!["speculation".to_owned()];
    let update = UpdateTaskTypeRequest {
        task_type: Some(task_type),
        update_mask: Some(prost_types::FieldMask { paths }),
    };
    client.update_type(update).await.unwrap();
    cluster
}

async fn a_twin_ends_what_hangs(backend: Backend) {
    let cluster = speculating(backend, 1).await;
    let client = cluster.client(0);
    // Whoever comes first hangs, wherever that is.
    let here = cluster.scratch();
    let script = format!(
        r#"if mkdir {0}/hangs 2>/dev/null; then echo $$ > {0}/pid; sleep 600; fi
        printf '{{"event":"result","data":"done"}}\n' >> "$ASYNCFLOW_EVENTS""#,
        here.display()
    );
    let created = client.create(sh(&script)).await.unwrap();
    let done = client.wait(&created.id, None).await.unwrap();
    assert_eq!(done.state(), TaskState::Succeeded, "{}", cluster.logs());
    let twin = client.get(&created.id).await.unwrap().twin.unwrap();
    let twin = client.get(&twin.task_id).await.unwrap();
    assert_eq!(twin.state(), TaskState::Succeeded);
    assert_eq!((&twin.result, twin.result.is_some()), (&done.result, true));
    assert!(twin.twin.is_some_and(|of| of.is_twin && of.task_id == created.id));
    assert_ne!(twin.worker_id, done.worker_id, "they run on two hosts");
    let attempts = client.attempts(&created.id).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].outcome(), AttemptOutcome::Released);
    let reason = attempts[0].failure.as_ref().unwrap().reason();
    assert_eq!(reason, FailureReason::Overtaken);
    let attempts = client.attempts(&twin.id).await.unwrap();
    assert_eq!(attempts.last().unwrap().outcome(), AttemptOutcome::Succeeded);
    let pid = std::fs::read_to_string(here.join("pid")).unwrap();
    until("what hangs is killed", || async { (!is_alive(&pid)).then_some(()) }).await;
}
on_each_database!(a_twin_ends_what_hangs);

/// Both end at the same moment, and each worker tells a broker of its own: one is heard.
async fn of_two_that_end_at_once_one_is_heard(backend: Backend) {
    let cluster = speculating(backend, 2).await;
    let client = cluster.client(0);
    let here = cluster.scratch();
    let script = format!(
        r#"cd {0}; if mkdir first 2>/dev/null; then me=original; else me=twin; fi
        touch $me.runs
        while ! test -e $me.ends; do sleep 0.05; done
        printf '{{"event":"result","data":"%s"}}\n' $me >> "$ASYNCFLOW_EVENTS""#,
        here.display()
    );
    let id = client.create(sh(&script)).await.unwrap().id;
    for of in ["original", "twin"] {
        let file = here.join(format!("{of}.runs"));
        until("both run", || async { file.exists().then_some(()) }).await;
    }
    let running = client.get(&id).await.unwrap();
    let twin = client.get(&running.twin.unwrap().task_id).await.unwrap();
    let number =
        |worker_id: &str| -> usize { worker_id.strip_prefix("worker-").unwrap().parse().unwrap() };
    let (of_original, of_twin) = (number(&running.worker_id), number(&twin.worker_id));
    assert_ne!(of_original, of_twin, "they run on two hosts");
    let stop = cluster.brokers[of_twin].faults().stop_at("twin.overtakes");
    std::fs::write(here.join("twin.ends"), "").unwrap();
    stop.reached().await;
    // The twin's end is written, and not committed.
    std::fs::write(here.join("original.ends"), "").unwrap();
    let data = here.join(format!("worker-{of_original}/data"));
    let outcome = async |of: &str| {
        let dir = data.join(of);
        until(&format!("the outcome is in {}", dir.display()), || async {
            let mut files = std::fs::read_dir(&dir).ok()?.flatten();
            files.find(|file| file.file_name().to_string_lossy().contains(&id))
        })
        .await
    };
    outcome("journal").await;
    stop.go_on();

    let done = client.wait(&id, None).await.unwrap();
    assert_eq!(done.state(), TaskState::Succeeded, "{}", cluster.logs());
    let result = String::from_utf8(done.result.unwrap().data.to_vec()).unwrap();
    assert!(result.contains("twin"), "{result}");
    assert_eq!(client.get(&twin.id).await.unwrap().state(), TaskState::Succeeded);
    let attempts = client.attempts(&id).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].failure.as_ref().unwrap().reason(), FailureReason::Overtaken);
    outcome("rejected").await;
}
on_each_database!(of_two_that_end_at_once_one_is_heard);
