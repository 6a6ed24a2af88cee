//! Who has the GPUs that a task waits for.

use asyncflow_core::{
    explain::{Ahead, Explained, Gpu, GpuState, Held, Host, Kind, Running, Subject, explain},
    id::TaskId,
    resources::Resources,
    task::Task,
};

use crate::fixture::{
    DAY_MS, GIB, MINUTE_MS, NOW_MS, ask, busy, foreign, gpu, gpus, host, kinds, task,
};

fn ask_with(task: &Task, hosts: &[Host], holds: &[Held]) -> Explained {
    explain(&Subject {
        task,
        now_ms: NOW_MS,
        is_type_paused: false,
        hosts,
        ahead: Some(Ahead::Exactly(0)),
        waits_for: &[],
        holds,
    })
}

/// GPUs of host `a` that are kept for a task of bob's.
fn held(of: &Task, indexes: &[i32]) -> Held {
    Held {
        task_id: TaskId { key: 3, ..of.id.clone() },
        user: "bob".into(),
        worker_id: "w-a".into(),
        gpus: indexes.iter().map(|index| format!("GPU-{index}")).collect(),
        start_ms: None,
    }
}

fn of_alice(index: i32, task_id: &str) -> Running {
    Running { task_id: task_id.into(), user: "alice".into(), ..busy(index, None) }
}

#[test]
fn a_stranger_is_named() {
    let mut all: Vec<Gpu> = (0..4).map(gpu).collect();
    all[1] = foreign(1);
    let hosts = [
        host('b', (0..4).map(gpu).collect(), (0..4).map(|n| busy(n, None)).collect()),
        host('a', all, vec![]),
    ];
    let explained = ask(&task(gpus(4)), &hosts, 3);
    let wanted = "waiting for 4 GPUs on one host: host-a has 3 free, GPU 1 is held by pid 4242 \
                  of bob (python train.py) since 2 d, 1 other host is no better; \
                  3 tasks are before it, and users take turns";
    assert_eq!(explained.summary, wanted);
    let (short, used) = (Kind::TooLittleFree, Kind::GpuInUse);
    let all = [short, Kind::ForeignProcess, short, used, used, used, used, Kind::Queued];
    assert_eq!(kinds(&explained), all);
    let stranger = &explained.reasons[1];
    assert_eq!((stranger.host.as_str(), stranger.gpu.as_str()), ("host-a", "GPU-1"));
    assert_eq!(stranger.process.as_ref().map(|process| process.pid), Some(4_242));
    assert_eq!(explained.reasons[2].message, "host-b has none free");
    assert_eq!(explained.reasons[3].host, "host-b");
    assert_eq!(explained.earliest_start_ms, None, "nobody knows when they end");
}

#[test]
fn tasks_those_for_which_gpus_are_kept_and_strangers_are_named_together() {
    let waits = task(gpus(2));
    let hosts =
        [host('a', vec![gpu(0), gpu(1), foreign(2)], vec![of_alice(0, "infer-1-0000000000001")])];
    let held = held(&waits, &[0, 1]);
    let explained = ask_with(&waits, &hosts, std::slice::from_ref(&held));
    let big = held.task_id.to_string();
    let summary = format!(
        "waiting for 2 GPUs on one host: host-a has none free, \
         GPU 0 runs infer-1-0000000000001 of alice and is then kept for {big} of bob, \
         GPU 1 is kept for {big} of bob, \
         GPU 2 is held by pid 4242 of bob (python train.py) since 2 d"
    );
    assert_eq!(explained.summary, summary);
    let parts: Vec<_> = explained.reasons[1..]
        .iter()
        .map(|of| (of.kind, of.gpu.as_str(), of.task_id.as_str(), of.user.as_str()))
        .collect();
    let wanted = [
        (Kind::GpuInUse, "GPU-0", "infer-1-0000000000001", "alice"),
        (Kind::HeldForOthers, "GPU-0", &big, "bob"),
        (Kind::HeldForOthers, "GPU-1", &big, "bob"),
        (Kind::ForeignProcess, "GPU-2", "", ""),
    ];
    assert_eq!(parts, wanted);
    assert_eq!(explained.reasons[1].message, "GPU 0 runs infer-1-0000000000001 of alice");
    assert_eq!(explained.reasons[2].message, format!("GPU 0 is then kept for {big} of bob"));
}

#[test]
fn gpus_of_one_task_are_told_together() {
    let big = Running {
        gpus: (0..4).map(|index| format!("GPU-{index}")).collect(),
        ..of_alice(0, "big-1-0000000000001")
    };
    let hosts = [host('a', (0..4).map(gpu).collect(), vec![big])];
    let explained = ask(&task(gpus(1)), &hosts, 0);
    let wanted = "waiting for 1 GPU: host-a has none free, GPU 0, GPU 1, GPU 2 and GPU 3 run \
                  big-1-0000000000001 of alice";
    assert_eq!(explained.summary, wanted);
    assert_eq!(explained.reasons.len(), 5, "and each by itself");
}

#[test]
fn of_many_three_are_told_and_strangers_first() {
    let mut all: Vec<Gpu> = (0..8).map(gpu).collect();
    all[7] = foreign(7);
    let running = (0..7).map(|n| of_alice(n, &format!("t-1-000000000000{n}"))).collect();
    let explained = ask(&task(gpus(1)), &[host('a', all, running)], 0);
    let wanted = "waiting for 1 GPU: host-a has none free, GPU 0 runs t-1-0000000000000 of alice, \
                  GPU 1 runs t-1-0000000000001 of alice, GPU 7 is held by pid 4242 of bob \
                  (python train.py) since 2 d and 5 more GPUs";
    assert_eq!(explained.summary, wanted);
    assert_eq!(explained.reasons.len(), 9, "in the list all are told");
}

#[test]
fn all_who_share_a_gpu_are_named() {
    let share = |id: &str| Running { gpu_share_bytes: 18 * GIB, ..of_alice(0, id) };
    let running = vec![share("a-1-0000000000001"), share("b-1-0000000000001")];
    let needs = Resources { gpu_memory_bytes: 10 * GIB, ..Resources::default() };
    let explained = ask(&task(needs), &[host('a', vec![gpu(0)], running)], 0);
    let wanted = "waiting for 10 GiB of one GPU: host-a has 4 GiB free on one GPU at most, \
                  GPU 0 runs a-1-0000000000001 of alice and b-1-0000000000001 of alice";
    assert_eq!(explained.summary, wanted);
}

#[test]
fn a_gpu_that_may_not_be_used_says_why() {
    let until_ms = Some(NOW_MS + 5 * MINUTE_MS);
    let cases = [
        (GpuState::Cordoned, None, "", "GPU 0 is cordoned"),
        (
            GpuState::CoolingDown,
            until_ms,
            "",
            "GPU 0 was used by somebody else a moment ago and rests for another 5 min",
        ),
        (
            GpuState::Quarantined,
            until_ms,
            "XID 79",
            "GPU 0 has shown a fault and is tried again in 5 min (XID 79)",
        ),
        (GpuState::Broken, None, "XID 48", "GPU 0 is broken (XID 48)"),
    ];
    for (state, until_ms, reason, message) in cases {
        let gpu = Gpu { state, until_ms, reason: reason.into(), ..gpu(0) };
        let explained = ask(&task(gpus(1)), &[host('a', vec![gpu], vec![])], 0);
        let wanted = format!("waiting for 1 GPU: host-a has none free, {message}");
        assert_eq!(explained.summary, wanted);
        assert_eq!(kinds(&explained), [Kind::TooLittleFree, Kind::GpuUnavailable]);
        let is_known = state == GpuState::CoolingDown;
        assert_eq!(explained.earliest_start_ms, until_ms.filter(|_| is_known), "{state:?}");
    }
}

#[test]
fn gpus_that_are_free_may_be_kept_for_somebody_else() {
    let hosts = [host('a', vec![gpu(0), gpu(1)], vec![busy(1, None)])];
    let one = task(gpus(1));
    let held = held(&one, &[0, 1]);
    let explained = ask_with(&one, &hosts, std::slice::from_ref(&held));
    let kept = format!("GPU 0 is kept for {} of bob", held.task_id);
    assert_eq!(explained.reasons[1].message, kept);
    assert!(explained.summary.contains(&kept), "{}", explained.summary);
    assert_eq!(explained.earliest_start_ms, None, "what is kept is not to be had");

    // It ends before the other one can begin.
    let later = Held { start_ms: Some(NOW_MS + DAY_MS), ..held.clone() };
    let short = Task { max_running_ms: MINUTE_MS, ..one.clone() };
    let explained = ask_with(&short, &hosts, &[later]);
    assert_eq!(explained.summary, "it is next, host-a has room for it");

    let own = Held { task_id: one.id.clone(), ..held };
    let explained = ask_with(&one, &hosts, &[own]);
    assert_eq!(kinds(&explained), [Kind::Queued], "it is kept for this very task");
}
