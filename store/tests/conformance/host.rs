//! Hosts: reports, orders, usage.

use asyncflow_core::{
    event::{Event, RetryHint, Settle},
    host::OrderName,
    reason::FailureReason,
    task::{AttemptOutcome, Task},
    usage::{AttemptUsage, UserUsage},
};
use asyncflow_store::{Registered, Registration, Store, StoreError, Touch, wake::host_topic};

use crate::fixture::{apply, fence, running};

async fn register(store: &Store, worker_id: &str, incarnation: &str) -> Registered {
    let registration = Registration {
        worker_id: worker_id.into(),
        incarnation: incarnation.into(),
        task_types: vec!["*".into()],
        slots: 4,
        ..Registration::default()
    };
    store.register_worker(&registration).await.unwrap()
}

async fn names(store: &Store, worker_id: &str) -> Vec<OrderName> {
    let mut orders = store.list_orders(&[worker_id.to_owned()]).await.unwrap();
    orders.remove(worker_id).unwrap_or_default().into_iter().map(|order| order.name).collect()
}

pub async fn the_last_report_of_the_session_in_force_is_kept(store: Store) {
    let first = register(&store, "gpu-1", "a").await;
    let host = store.get_host("gpu-1").await.unwrap().unwrap();
    assert_eq!((host.report, host.report_time_ms), (None, None));
    let since_ms = store.now_ms().await.unwrap();
    for report in [&b"one"[..], b"two \0 \xff"] {
        assert!(store.report_host(first.session_id, report, 2).await.unwrap());
    }
    let host = store.get_host("gpu-1").await.unwrap().unwrap();
    assert_eq!(host.report.as_deref(), Some(&b"two \0 \xff"[..]));
    assert!(host.report_time_ms.unwrap() >= since_ms - 1_000);
    let touch = Touch { session_id: first.session_id, draining: true, running: 5 };
    store.touch_workers(&[touch]).await.unwrap();
    let host = store.get_host("gpu-1").await.unwrap().unwrap();
    assert_eq!((host.worker.draining, host.worker.running), (true, 2), "the report counts");
    let listed = store.list_workers(None, 1).await.unwrap();
    assert_eq!(listed[0], host.worker);
    let second = register(&store, "gpu-1", "b").await;
    assert!(!store.report_host(first.session_id, b"too late", 7).await.unwrap());
    let host = store.get_host("gpu-1").await.unwrap().unwrap();
    assert_eq!(host.worker.session_id, second.session_id);
    assert_eq!(host.report.as_deref(), Some(&b"two \0 \xff"[..]));

    register(&store, "gpu-2", "a").await;
    let ids = |after| {
        let store = store.clone();
        async move {
            let hosts = store.list_hosts(after, 10).await.unwrap();
            hosts.into_iter().map(|host| host.worker.registration.worker_id).collect::<Vec<_>>()
        }
    };
    assert_eq!(ids(None).await, ["gpu-1", "gpu-2"]);
    assert_eq!(ids(Some("gpu-1")).await, ["gpu-2"]);
    assert_eq!(store.get_host("gpu-3").await.unwrap(), None);
}

pub async fn orders_replace_each_other_and_are_taken_back(store: Store) {
    let mut rung = store.wake().subscribe(&host_topic("gpu-1"));
    let gpu = OrderName::Gpu("GPU-1".into());
    let process = OrderName::Process { gpu: "GPU-1".into(), pid: 42 };
    let give = |worker: &str, name: &OrderName, body: &[u8]| {
        (worker.to_owned(), name.clone(), body.to_vec())
    };
    let orders = [
        give("gpu-2", &gpu, b"2"),
        give("gpu-1", &process, b"p"),
        give("gpu-1", &gpu, b"old"),
        give("gpu-1", &OrderName::Cordon, b""),
    ];
    store.put_orders(&orders).await.unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(5), rung.rung()).await.unwrap();
    store.put_orders(&[give("gpu-1", &gpu, b"new")]).await.unwrap();
    let all = store.list_orders(&["gpu-1".into(), "gpu-2".into(), "x".into()]).await.unwrap();
    assert_eq!(all.len(), 2);
    let bodies = |worker: &str| -> Vec<(OrderName, Vec<u8>)> {
        all[worker].iter().map(|order| (order.name.clone(), order.body.clone())).collect()
    };
    assert_eq!(bodies("gpu-2"), [(gpu.clone(), b"2".to_vec())]);
    let first = [
        (OrderName::Cordon, Vec::new()),
        (gpu.clone(), b"new".to_vec()),
        (process.clone(), b"p".to_vec()),
    ];
    assert_eq!(bodies("gpu-1"), first);
    store.delete_orders("gpu-1", &[process.clone(), OrderName::Drain]).await.unwrap();
    store.delete_orders("gpu-1", &[]).await.unwrap();
    assert_eq!(names(&store, "gpu-1").await, [OrderName::Cordon, gpu.clone()]);
    assert_eq!(names(&store, "gpu-2").await, [gpu]);
}

pub async fn of_two_who_change_an_order_none_undoes_the_other(store: Store) {
    let name = OrderName::Gpu("GPU-1".into());
    let add = |letter: u8| {
        let (store, name) = (store.clone(), name.clone());
        async move {
            let change = |before: Option<&[u8]>| [before.unwrap_or_default(), &[letter]].concat();
            store.change_order("gpu-1", &name, change).await
        }
    };
    let unknown = add(b'x').await;
    assert!(matches!(unknown, Err(StoreError::NotFound)), "{unknown:?}");
    register(&store, "gpu-1", "a").await;
    let all = futures::future::join_all((b'a'..=b'f').map(add)).await;
    all.into_iter().for_each(|one| one.unwrap());
    let orders = store.list_orders(&["gpu-1".into()]).await.unwrap();
    let mut body = orders["gpu-1"][0].body.clone();
    body.sort_unstable();
    assert_eq!((orders["gpu-1"].len(), body), (1, b"abcdef".to_vec()));
}

pub async fn an_order_for_a_process_ends_with_it(store: Store) {
    let first = register(&store, "gpu-1", "a").await;
    let of = |name: OrderName| ("gpu-1".to_owned(), name, Vec::new());
    let is_closed = |session_id| {
        let store = store.clone();
        async move { store.get_session(session_id).await.unwrap().unwrap().is_closed }
    };
    assert!(!is_closed(first.session_id).await);
    store.put_orders(&[of(OrderName::Detach)]).await.unwrap();
    assert!(!is_closed(first.session_id).await, "what is detached may still be adopted");
    store.put_orders(&[of(OrderName::Drain), of(OrderName::Cordon)]).await.unwrap();
    assert!(is_closed(first.session_id).await);
    // The same process repeats its registration.
    register(&store, "gpu-1", "a").await;
    let all = [OrderName::Cordon, OrderName::Detach, OrderName::Drain];
    assert_eq!(names(&store, "gpu-1").await, all);
    let second = register(&store, "gpu-1", "b").await;
    assert_eq!(names(&store, "gpu-1").await, [OrderName::Cordon, OrderName::Drain]);
    store.end_session(first.session_id).await.unwrap();
    assert_eq!(names(&store, "gpu-1").await, [OrderName::Cordon, OrderName::Drain]);
    store.end_session(second.session_id).await.unwrap();
    assert_eq!(names(&store, "gpu-1").await, [OrderName::Cordon]);
    let third = register(&store, "gpu-1", "c").await;
    assert!(is_closed(third.session_id).await, "a cordon holds until it is taken back");
    store.delete_orders("gpu-1", &[OrderName::Cordon]).await.unwrap();
    assert!(!is_closed(third.session_id).await);
}

/// Who has drained a host has taken it out of use; that it is started again does not change that.
pub async fn a_drained_host_is_cordoned_for_its_next_worker(store: Store) {
    let of = |name: OrderName| ("gpu-1".to_owned(), name, Vec::new());
    let first = register(&store, "gpu-1", "a").await;
    store.put_orders(&[of(OrderName::Drain)]).await.unwrap();
    // Killed, and started again: it goes on draining.
    let second = register(&store, "gpu-1", "b").await;
    store.end_session(first.session_id).await.unwrap();
    assert_eq!(names(&store, "gpu-1").await, [OrderName::Drain]);
    store.end_session(second.session_id).await.unwrap();
    assert_eq!(names(&store, "gpu-1").await, [OrderName::Cordon]);
    let third = register(&store, "gpu-1", "c").await;
    let session = store.get_session(third.session_id).await.unwrap().unwrap();
    assert!(session.is_closed, "nothing is given to it");
    store.end_session(third.session_id).await.unwrap();
    assert_eq!(names(&store, "gpu-1").await, [OrderName::Cordon]);
    // Who ends without having been told to drain is open again.
    store.delete_orders("gpu-1", &[OrderName::Cordon]).await.unwrap();
    let fourth = register(&store, "gpu-1", "d").await;
    store.end_session(fourth.session_id).await.unwrap();
    assert!(names(&store, "gpu-1").await.is_empty());
}

pub async fn who_is_away_is_listed_while_its_host_is_closed(store: Store) {
    let of = |worker: &str, name: OrderName| (worker.to_owned(), name, Vec::new());
    let drained = register(&store, "drained", "a").await;
    register(&store, "there", "a").await;
    let orders = [
        of("lost", OrderName::Cordon),
        of("lost", OrderName::Drain),
        of("drained", OrderName::Drain),
        of("open", OrderName::Gpu("GPU-1".into())),
    ];
    store.put_orders(&orders).await.unwrap();
    let list = |after| store.list_host_ids(after, 2);
    assert_eq!(list(None).await.unwrap(), ["drained", "lost"], "each once, and no more");
    assert_eq!(list(Some("drained")).await.unwrap(), ["lost", "there"], "none that is open");
    store.end_session(drained.session_id).await.unwrap();
    assert_eq!(list(None).await.unwrap(), ["drained", "lost"]);
    store.delete_orders("drained", &[OrderName::Cordon]).await.unwrap();
    assert_eq!(list(None).await.unwrap(), ["lost", "there"]);
    assert_eq!(list(Some("there")).await.unwrap(), Vec::<String>::new());
}

pub async fn orders_are_as_old_as_the_silence_of_their_host(store: Store) {
    let of = |worker: &str| (worker.to_owned(), OrderName::Cordon, Vec::new());
    let workers = ["ended", "lost", "there"];
    let mut sessions = Vec::new();
    for worker_id in workers {
        sessions.push(register(&store, worker_id, "a").await.session_id);
    }
    store.put_orders(&[of("ended"), of("lost"), of("there"), of("never")]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    // All of them were given before this moment, and two of the hosts were heard of later.
    let since_ms = store.now_ms().await.unwrap();
    store.end_session(sessions[0]).await.unwrap();
    let later_ms = store.now_ms().await.unwrap() + 60_000;
    assert_eq!(store.delete_stale_workers(later_ms, None).await.unwrap(), 2);
    let there = register(&store, "there", "b").await;
    assert_eq!(store.purge_orders(since_ms, None).await.unwrap(), 1, "of the one that never was");
    for worker_id in workers {
        assert_eq!(names(&store, worker_id).await, [OrderName::Cordon], "{worker_id}");
    }
    assert!(names(&store, "never").await.is_empty());
    assert_eq!(store.purge_orders(later_ms, None).await.unwrap(), 2);
    assert_eq!(names(&store, "there").await, [OrderName::Cordon], "it is back");
    store.end_session(there.session_id).await.unwrap();
}

fn used(gpu_seconds: f64) -> AttemptUsage {
    AttemptUsage {
        host: "lab-1".into(),
        gpus: vec!["GPU-1".into(), "GPU-2".into()],
        gpu_seconds,
        cpu_seconds: 2.5,
        memory_peak_bytes: 1 << 40,
        ..AttemptUsage::default()
    }
}

fn end(task: &Task, settle: Settle, usage: Option<AttemptUsage>) -> Event {
    let usage = usage.map(Box::new);
    Event::Settle { fence: fence(task), settle, digest: 1, exit_code: None, usage }
}

fn failed() -> Settle {
    let (reason, message) = (FailureReason::Error, "it broke".to_owned());
    Settle::Fail { reason, message, hint: RetryHint::Never }
}

pub async fn what_attempts_use_is_kept_and_added_up(store: Store) {
    let one = running(&store, 7).await.task;
    apply(&store, &one.id, end(&one, Settle::complete(None), Some(used(10.0)))).await.unwrap();
    let attempts = store.list_attempts(&one.id, 0, 10).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].outcome, AttemptOutcome::Succeeded);
    assert_eq!(attempts[0].usage.as_deref(), Some(&used(10.0)));

    let other = running(&store, 7).await.task;
    let event = end(&other, failed(), Some(used(0.5)));
    apply(&store, &other.id, event.clone()).await.unwrap();
    // A worker that has not heard the answer says it again.
    apply(&store, &other.id, event).await.unwrap_err();
    let attempts = store.list_attempts(&other.id, 0, 10).await.unwrap();
    assert_eq!(attempts[0].usage.as_deref(), Some(&used(0.5)));

    let silent = running(&store, 7).await.task;
    apply(&store, &silent.id, end(&silent, Settle::complete(None), None)).await.unwrap();
    assert_eq!(store.list_attempts(&silent.id, 0, 10).await.unwrap()[0].usage, None);

    let now_ms = store.now_ms().await.unwrap();
    let all = UserUsage { gpu_ms: 10_500, cpu_ms: 5_000, attempts: 2 };
    let usage = store.usage(now_ms - 86_400_000, None).await.unwrap();
    assert_eq!(usage, [("ann".to_owned(), all)].into());
    assert_eq!(store.usage(now_ms - 86_400_000, Some("ann")).await.unwrap(), usage);
    assert!(store.usage(now_ms - 86_400_000, Some("bob")).await.unwrap().is_empty());
    assert!(store.usage(now_ms + 2 * 86_400_000, None).await.unwrap().is_empty());
    let decayed = store.decayed_gpu_seconds().await.unwrap();
    // At midnight it begins to be forgotten.
    assert!((9.0..=10.5).contains(&decayed["ann"]), "{decayed:?}");
}

pub async fn usage_of_one_user_is_added_up_by_many(store: Store) {
    let mut ending = tokio::task::JoinSet::new();
    for number in 0..24 {
        let task = running(&store, number + 1).await.task;
        let store = store.clone();
        ending.spawn(async move {
            apply(&store, &task.id, end(&task, failed(), Some(used(1.0)))).await.unwrap();
        });
    }
    ending.join_all().await;
    let usage = store.usage(0, None).await.unwrap();
    let all = UserUsage { gpu_ms: 24_000, cpu_ms: 60_000, attempts: 24 };
    assert_eq!(usage["ann"], all);
}
