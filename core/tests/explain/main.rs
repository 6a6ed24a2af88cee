//! Why a task is where it is, said in one sentence: a table of what there is and what is said.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod closed;
mod earliest;
mod fixture;
mod gpus;
mod trespass;

use asyncflow_core::{
    event::{Event, RetryHint, Settle},
    explain::{Ahead, Host, Kind, Running, Subject, explain, is_impossible},
    resources::Resources,
    task::Task,
};

use fixture::{
    GIB, NOW_MS, after, ask, busy, claim, failed, gpu, gpus, host, kinds, running, settled, task,
    type_name,
};

/// What is said of tasks whose own state says it all.
#[test]
fn a_state_speaks_for_itself() {
    let pending = task(Resources::default());
    let not_before = Event::Update(asyncflow_core::event::TaskPatch {
        not_before_ms: Some(Some(NOW_MS + 3 * 3_600_000)),
        ..Default::default()
    });
    let cases = [
        (after(&pending, Event::Pause, 0), Kind::Paused, "it is paused"),
        (after(&pending, not_before, 0), Kind::NotBefore, "it is not to start before 3 h from now"),
        (
            after(&pending, claim(), 3_000),
            Kind::HandedOut,
            "it was handed out to host-a (worker w-a) 3 s ago, and has not begun",
        ),
        (
            running(Resources::default()),
            Kind::Running,
            "it runs on host-a (worker w-a) since 4 min",
        ),
        (settled(Settle::complete(None)), Kind::Ended, "it succeeded 1 s ago"),
        (
            failed(RetryHint::Never),
            Kind::Ended,
            "it failed 1 s ago: out of memory: 64 GiB were too few",
        ),
        (
            failed(RetryHint::AfterMs(91_000)),
            Kind::BackOff,
            "it is tried again in 90 s, after out of memory: 64 GiB were too few",
        ),
        (
            after(&pending, Event::Cancel { message: "no need".into() }, 60_000),
            Kind::Ended,
            "it was cancelled 60 s ago: cancelled: no need",
        ),
    ];
    for (task, kind, summary) in cases {
        let explained = ask(&task, &[host('a', vec![], vec![])], 3);
        assert_eq!((explained.summary.as_str(), kinds(&explained)), (summary, vec![kind]));
    }
}

#[test]
fn who_runs_is_told_with_host_and_gpus() {
    let task = running(gpus(2));
    let of_task = Running {
        task_id: task.id.to_string(),
        gpus: vec!["GPU-1".into(), "GPU-3".into()],
        ..Running::default()
    };
    let explained = ask(&task, &[host('a', (0..4).map(gpu).collect(), vec![of_task])], 0);
    let summary = "it runs on host-a (worker w-a), GPU 1 and GPU 3, since 4 min";
    assert_eq!(explained.summary, summary);
    let reason = &explained.reasons[0];
    assert_eq!((reason.host.as_str(), reason.worker_id.as_str()), ("host-a", "w-a"));
    let silent =
        Host { is_alive: false, heard_ms: Some(NOW_MS - 40_000), ..host('a', vec![], vec![]) };
    let wanted = "it runs on host-a (worker w-a) since 4 min; its worker was heard of 40 s ago";
    assert_eq!(ask(&task, &[silent], 0).summary, wanted, "which may be no more");
    let stopped = after(&task, Event::Cancel { message: "no".into() }, 0);
    let explained = ask(&stopped, &[], 0);
    assert_eq!(explained.summary, "it runs on w-a since 4 min and is being stopped");
}

#[test]
fn who_waits_for_others_is_told_for_whom() {
    let task = Task { state: asyncflow_core::state::TaskState::Blocked, ..task(gpus(1)) };
    let waits_for: Vec<String> = (1..=7).map(|n| format!("signal s{n}")).collect();
    let subject = Subject {
        task: &task,
        now_ms: NOW_MS,
        is_type_paused: true,
        hosts: &[],
        ahead: None,
        waits_for: &waits_for,
        holds: &[],
    };
    let wanted = "it waits for signal s1, signal s2, signal s3, signal s4, signal s5 and 2 more";
    assert_eq!(explain(&subject).summary, wanted);
}

#[test]
fn a_paused_type_is_told_before_anything_else() {
    let task = task(gpus(64));
    let subject = Subject {
        task: &task,
        now_ms: NOW_MS,
        is_type_paused: true,
        hosts: &[],
        ahead: Some(Ahead::Exactly(0)),
        waits_for: &[],
        holds: &[],
    };
    let explained = explain(&subject);
    assert_eq!(explained.summary, "its type train is paused");
    assert_eq!(kinds(&explained), [Kind::TypePaused]);
}

/// What is said of tasks that wait for a host.
#[test]
fn what_is_lacking_is_told() {
    let a_slot = Resources::default;
    let other = Host { types: Some([type_name("other")].into()), ..host('a', vec![], vec![]) };
    let shut = |change: fn(&mut Host)| {
        let mut host = host('a', vec![gpu(0)], vec![]);
        change(&mut host);
        vec![host]
    };
    let four = || (0..4).map(gpu).collect::<Vec<_>>();
    let cases = [
        (
            gpus(1),
            vec![],
            "no worker is there for the type train; 3 tasks are before it, and users take turns",
        ),
        (a_slot(), vec![other], "no worker is there for the type train; 3 tasks are before it"),
        (
            gpus(1),
            shut(|host| host.is_cordoned = true),
            "no host with 1 GPU takes tasks now: host-a is cordoned; 3 tasks are before \
             it, and users take turns",
        ),
        (
            a_slot(),
            shut(|host| host.is_draining = true),
            "no host with a slot takes tasks now: host-a is draining; 3 tasks are before it",
        ),
        (
            a_slot(),
            shut(|host| host.is_alive = false),
            "no host with a slot takes tasks now: host-a is away; 3 tasks are before it",
        ),
        (
            Resources { cpu_millis: 500, ..a_slot() },
            shut(|host| host.report = None),
            "no host with 0.5 cores takes tasks now: host-a does not report what it has; \
             3 tasks are before it, and users take turns",
        ),
        (
            gpus(8),
            vec![host('a', four(), vec![]), host('b', vec![], vec![])],
            "no host can ever run it: it asks for 8 GPUs on one host, but host-a has 4 GPUs \
             (NVIDIA A100, 40 GiB), host-b has no GPU; start a worker on a host that has it, or \
             create it anew with less",
        ),
        (
            Resources { host: "host-z".into(), gpu_model: "h100".into(), ..gpus(1) },
            vec![host('a', four(), vec![])],
            "no host can ever run it: it asks for 1 GPU (h100) on the host host-z, but host-a is \
             another host and has 4 GPUs (NVIDIA A100, 40 GiB); start a worker on host-z, or \
             create it anew for another host",
        ),
        (
            Resources { memory_bytes: 100 * GIB, cpu_millis: 32_000, ..a_slot() },
            vec![host('a', vec![], vec![])],
            "no host can ever run it: it asks for 32 cores and 100 GiB of memory, but host-a has \
             16 cores and 64 GiB of memory; start a worker on a host that has it, or create \
             it anew with less",
        ),
    ];
    for (needs, hosts, summary) in cases {
        assert_eq!(ask(&task(needs), &hosts, 3).summary, summary);
    }
}

#[test]
fn what_is_lacking_for_now_is_told() {
    let a_slot = Resources::default;
    let four = || (0..4).map(gpu).collect::<Vec<_>>();
    let cases = [
        (
            Resources { memory_bytes: 16 * GIB, ..a_slot() },
            vec![host('a', vec![], vec![])],
            "waiting for 16 GiB of memory: host-a has 8 GiB of memory free; 3 tasks are before \
             it, and users take turns",
        ),
        (
            Resources { gpu_memory_bytes: 60 * GIB, ..a_slot() },
            vec![host('a', four(), vec![])],
            "no host can ever run it: it asks for 60 GiB of one GPU, but host-a has 4 GPUs \
             (NVIDIA A100, 40 GiB); start a worker on a host that has it, or create it anew with \
             less",
        ),
        (
            a_slot(),
            vec![Host { slots: 1, ..host('a', vec![], vec![busy(0, None)]) }],
            "waiting for a slot: host-a runs as many tasks as it may; 3 tasks are before it",
        ),
        (a_slot(), vec![host('a', vec![], vec![])], "3 tasks are before it"),
    ];
    for (needs, hosts, summary) in cases {
        assert_eq!(ask(&task(needs), &hosts, 3).summary, summary);
    }
}

#[test]
fn a_host_that_gave_it_away_is_not_in_question_while_there_are_others() {
    let needs = Resources { avoid_host: "host-a".into(), ..gpus(1) };
    let free = || host('a', vec![gpu(0)], vec![]);
    let full = host('b', vec![gpu(0)], vec![busy(0, None)]);
    let explained = ask(&task(needs.clone()), &[free(), full], 0);
    assert_eq!(
        explained.summary,
        "waiting for 1 GPU: host-b has none free, GPU 0 runs train-1-0000000000000"
    );
    let explained = ask(&task(needs), &[free()], 0);
    assert_eq!(explained.summary, "it is next, host-a has room for it");
}

#[test]
fn a_long_queue_is_not_counted_to_its_end() {
    let task = task(gpus(1));
    let hosts = [host('a', vec![gpu(0)], vec![])];
    let subject = Subject {
        task: &task,
        now_ms: NOW_MS,
        is_type_paused: false,
        hosts: &hosts,
        ahead: Some(Ahead::AtLeast(1_000)),
        waits_for: &[],
        holds: &[],
    };
    let summary = explain(&subject).summary;
    assert_eq!(summary, "at least 1000 tasks are before it, and users take turns");
    assert_eq!(ask(&task, &hosts, 1).summary, "1 task is before it, and users take turns");
}

#[test]
fn kinds_are_numbered_from_one_on() {
    let codes: Vec<i32> = Kind::ALL.into_iter().map(Kind::code).collect();
    assert_eq!(codes, (1..=19).collect::<Vec<_>>());
}

/// Who asks for what is nowhere is told what is asked for, what there is and what to do.
#[test]
fn what_can_never_run_says_what_it_asks_for() {
    let labels = |pairs: &[(&str, &str)]| {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    };
    let here = Host { labels: labels(&[("room", "4")]), ..host('a', vec![gpu(0)], vec![]) };
    let mixed = vec![
        gpu(0),
        gpu(1),
        asyncflow_core::explain::Gpu { model: "RTX 3090".into(), memory_bytes: 24 * GIB, ..gpu(2) },
    ];
    let cases = [
        (
            Resources { host: "host-x".into(), ..Resources::default() },
            vec![here.clone()],
            "it asks for a slot on the host host-x, but host-a is another host; start a worker on \
             host-x, or create it anew for another host",
        ),
        (
            Resources {
                worker_labels: labels(&[("room", "3"), ("site", "lab")]),
                ..Resources::default()
            },
            vec![here, host('b', vec![], vec![])],
            "it asks for a slot of a worker labelled room=3 and site=lab, but host-a is labelled \
             room=4, not room=3 and site=lab, host-b is not labelled room=3 and site=lab; start a \
             worker with such labels, or create it anew without them",
        ),
        (
            Resources { gpu_model: "a100".into(), gpu_memory_min_bytes: 80 * GIB, ..gpus(2) },
            vec![host('a', mixed, vec![])],
            "it asks for 2 GPUs (a100, 80 GiB or more) on one host, but host-a has 2 NVIDIA A100 \
             (40 GiB) and 1 RTX 3090 (24 GiB); start a worker on a host that has it, or create it \
             anew with less",
        ),
    ];
    for (needs, hosts, wanted) in cases {
        let explained = ask(&task(needs), &hosts, 3);
        assert_eq!(explained.summary, format!("no host can ever run it: {wanted}"));
        assert!(kinds(&explained).iter().all(|kind| *kind == Kind::NeverFits));
    }
}

#[test]
fn what_no_host_can_run_is_impossible_unless_there_is_none() {
    let name = type_name("train");
    let hosts = [host('a', vec![gpu(0)], vec![busy(0, None)]), host('b', vec![], vec![])];
    let is = |needs: &Resources, hosts: &[Host]| is_impossible(&name, needs, hosts);
    assert!(!is(&gpus(1), &hosts), "it is only in use");
    assert!(is(&gpus(2), &hosts) && is(&gpus(1), &hosts[1..]));
    assert!(!is(&gpus(2), &[]), "nobody knows what comes");
    let other = Host { types: Some([type_name("other")].into()), ..hosts[0].clone() };
    assert!(!is(&gpus(2), &[other]));
}
