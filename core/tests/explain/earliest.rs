//! When a task starts at the earliest.

use asyncflow_core::{
    explain::{Ahead, Gpu, GpuState, Held, Host, Running, Subject, explain},
    id::TaskId,
    resources::Resources,
};

use crate::fixture::{DAY_MS, GIB, MINUTE_MS, NOW_MS, ask, busy, foreign, gpu, gpus, host, task};

fn in_minutes(explained: Option<i64>) -> Option<i64> {
    explained.map(|start_ms| (start_ms - NOW_MS) / MINUTE_MS)
}

#[test]
fn it_is_when_enough_have_ended_by_their_limits() {
    let all = || (0..3).map(gpu).collect::<Vec<_>>();
    let ends = |ends: [Option<i64>; 3]| {
        let running = (0..).zip(ends).map(|(n, end)| busy(n, end)).collect();
        [host('a', all(), running)]
    };
    let (one, two, three) = (Some(MINUTE_MS), Some(2 * MINUTE_MS), Some(3 * MINUTE_MS));
    for (wanted, hosts, minutes) in [
        (1, ends([three, one, two]), Some(1)),
        (2, ends([three, one, two]), Some(2)),
        (2, ends([None, one, two]), Some(2)),
        (3, ends([None, one, two]), None),
    ] {
        let explained = ask(&task(gpus(wanted)), &hosts, 0);
        assert_eq!(in_minutes(explained.earliest_start_ms), minutes, "{wanted}");
    }
}

/// A task on a card that may not be used gives back no card when it ends.
#[test]
fn tasks_on_cards_that_may_not_be_used_do_not_count() {
    let until_ms = Some(NOW_MS + 2 * MINUTE_MS);
    let shut = |state, until_ms| Gpu { state, until_ms, ..gpu(0) };
    let cards = [
        (shut(GpuState::Cordoned, None), 60),
        (shut(GpuState::Quarantined, until_ms), 60),
        (shut(GpuState::Broken, None), 60),
        (foreign(0), 60),
        // This one is given away again, and sooner than the other one is free.
        (shut(GpuState::CoolingDown, until_ms), 2),
        (shut(GpuState::CoolingDown, None), 60),
        (shut(GpuState::Ready, None), 1),
    ];
    for (card, minutes) in cards {
        let running = vec![busy(0, Some(MINUTE_MS)), busy(1, Some(60 * MINUTE_MS))];
        let state = card.state;
        let explained = ask(&task(gpus(1)), &[host('a', vec![card.clone(), gpu(1)], running)], 0);
        assert_eq!(in_minutes(explained.earliest_start_ms), Some(minutes), "{state:?}");
        let running = vec![busy(0, Some(MINUTE_MS)), busy(1, None)];
        let explained = ask(&task(gpus(2)), &[host('a', vec![card, gpu(1)], running)], 0);
        assert_eq!(explained.earliest_start_ms, None, "{state:?}");
    }
}

/// Its slot, cores and memory it does give back, and who has no limit does not matter for others.
#[test]
fn slots_cores_and_memory_are_counted_one_by_one() {
    let cordoned = Gpu { state: GpuState::Cordoned, ..gpu(0) };
    let with = |minutes: Option<i64>, cpu_millis, gib: i64| Running {
        cpu_millis,
        memory_bytes: gib * GIB,
        ..busy(0, minutes.map(|minutes| minutes * MINUTE_MS))
    };
    let running = vec![with(Some(5), 2_000, 8), with(Some(9), 4_000, 8), with(None, 1_000, 40)];
    let full = Host { slots: 3, ..host('a', vec![cordoned], running.clone()) };
    let roomy = host('a', vec![], running);
    let needs = |cpu_millis, gib: i64| Resources {
        cpu_millis,
        memory_bytes: gib * GIB,
        ..Resources::default()
    };
    // 4 cores and 8 GiB are free.
    for (host, needs, minutes) in [
        (&full, needs(0, 0), Some(5)),
        (&full, needs(6_000, 0), Some(5)),
        (&roomy, needs(7_000, 0), Some(9)),
        (&roomy, needs(0, 24), Some(9)),
        (&roomy, needs(0, 32), None),
    ] {
        let explained = ask(&task(needs.clone()), std::slice::from_ref(host), 0);
        assert_eq!(in_minutes(explained.earliest_start_ms), minutes, "{needs:?}");
    }
}

#[test]
fn what_is_kept_for_others_is_not_to_be_had() {
    let waits = task(gpus(1));
    let hosts = [host(
        'a',
        vec![gpu(0), gpu(1)],
        vec![busy(0, Some(MINUTE_MS)), busy(1, Some(60 * MINUTE_MS))],
    )];
    let held = Held {
        task_id: TaskId { key: 3, ..waits.id.clone() },
        user: "bob".into(),
        worker_id: "w-a".into(),
        gpus: vec!["GPU-0".into()],
        start_ms: Some(NOW_MS + 10 * MINUTE_MS),
    };
    let earliest = |max_running_ms, holds: &[Held]| {
        let task = asyncflow_core::task::Task { max_running_ms, ..waits.clone() };
        let subject = Subject {
            task: &task,
            now_ms: NOW_MS,
            is_type_paused: false,
            hosts: &hosts,
            ahead: Some(Ahead::Exactly(0)),
            waits_for: &[],
            holds,
        };
        in_minutes(explain(&subject).earliest_start_ms)
    };
    assert_eq!(earliest(0, &[]), Some(1));
    assert_eq!(earliest(0, std::slice::from_ref(&held)), Some(60));
    assert_eq!(earliest(DAY_MS, std::slice::from_ref(&held)), Some(60));
    assert_eq!(earliest(5 * MINUTE_MS, &[held]), Some(1), "it has ended when they are needed");
}

#[test]
fn shares_are_counted_together_with_what_strangers_hold() {
    let share = |number, bytes, minutes: i64| Running {
        gpu_share_bytes: bytes,
        ..busy(number, Some(minutes * MINUTE_MS))
    };
    let needs = Resources { gpu_memory_bytes: 10 * GIB, ..Resources::default() };
    let used = Gpu { memory_used_bytes: 15 * GIB, ..gpu(0) };
    let room = [host('a', vec![used], vec![share(0, 20 * GIB, 1)])];
    let explained = ask(&task(needs.clone()), &room, 0);
    assert_eq!(explained.summary, "it is next, host-a has room for it");
    let shares = vec![share(0, 20 * GIB, 3), share(0, 6 * GIB, 1), share(0, 9 * GIB, 2)];
    let explained = ask(&task(needs), &[host('a', vec![gpu(0)], shares)], 0);
    let wanted = "waiting for 10 GiB of one GPU: host-a has 5 GiB free on one GPU at most";
    assert!(explained.summary.starts_with(wanted), "{}", explained.summary);
    assert_eq!(in_minutes(explained.earliest_start_ms), Some(1), "the others may stay");
}
