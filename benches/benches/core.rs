//! The hot paths of the pure domain.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence, Settle},
    id::{KeyGenerator, ShardId, TaskId, TypeName},
    order::pending_order_ms,
    task::Task,
    task_type::TaskType,
    transition::transition,
};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

const NOW_MS: i64 = 1_800_000_000_000;

fn pending() -> Task {
    let name = TypeName::new("train").unwrap();
    let task_type = TaskType::with_defaults(name.clone(), NOW_MS);
    let new = NewTask {
        name: "epoch".to_owned(),
        priority: Some(3),
        ..NewTask::new(name.clone(), "ana")
    };
    let id = TaskId { shard: ShardId { task_type: name, number: 1 }, key: 42 };
    new.into_task(&task_type, id, NOW_MS).task
}

fn transitions(criterion: &mut Criterion) {
    let pending = pending();
    let claim =
        Event::Claim { worker_id: "gpu-07".to_owned(), session_id: 7, handout_ttl_ms: 10_000 };
    let running = transition(&pending, &claim, NOW_MS).unwrap().task;
    let fence = Fence { attempt: 1, session_id: 7 };
    let beat = Event::Heartbeat { fence, lease_ttl_ms: 30_000 };
    let settle = Event::Settle {
        fence,
        settle: Settle::complete(None),
        digest: 1,
        exit_code: None,
        usage: None,
    };
    for (name, task, event) in
        [("claim", &pending, &claim), ("heartbeat", &running, &beat), ("settle", &running, &settle)]
    {
        criterion.bench_function(&format!("transition/{name}"), |bencher| {
            bencher.iter(|| transition(black_box(task), black_box(event), NOW_MS));
        });
    }
}

fn ids(criterion: &mut Criterion) {
    let id = pending().id;
    let text = id.to_string();
    criterion.bench_function("id/display", |bencher| bencher.iter(|| black_box(&id).to_string()));
    criterion.bench_function("id/parse", |bencher| {
        bencher.iter(|| black_box(text.as_str()).parse::<TaskId>());
    });
    let mut keys = KeyGenerator::new(7);
    criterion.bench_function("id/next_key", |bencher| bencher.iter(|| keys.next_key(NOW_MS)));
}

fn order(criterion: &mut Criterion) {
    criterion.bench_function("order/pending", |bencher| {
        bencher.iter(|| pending_order_ms(black_box(NOW_MS), black_box(3)));
    });
}

criterion_group!(benches, transitions, ids, order);
criterion_main!(benches);
