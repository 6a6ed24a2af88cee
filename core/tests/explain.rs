//! Why a task is where it is, said in one sentence: a table of what there is and what is said.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Arc;

use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence, RetryHint, Settle},
    explain::{
        Ahead, Explained, Gpu, GpuState, Held, Host, Kind, Process, Report, Running, Subject,
        explain,
    },
    id::{EPOCH_MS, ShardId, TaskId, TypeName},
    reason::FailureReason,
    resources::Resources,
    task::Task,
    task_type::TaskType,
    transition::transition,
};

const NOW_MS: i64 = EPOCH_MS + 1_000_000_000;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
const GIB: i64 = 1 << 30;

fn type_name(name: &str) -> TypeName {
    TypeName::new(name).unwrap()
}

fn task(needs: Resources) -> Task {
    let id = TaskId { shard: ShardId { task_type: type_name("train"), number: 1 }, key: 7 };
    let new = NewTask::new(type_name("train"), "ann");
    let settings = TaskType::with_defaults(type_name("train"), 0);
    let task = new.into_task(&settings, id, NOW_MS - 10 * MINUTE_MS).task;
    Task { resources: (needs != Resources::default()).then(|| Arc::new(needs)), ..task }
}

fn gpus(gpus: i32) -> Resources {
    Resources { gpus, ..Resources::default() }
}

fn after(task: &Task, event: Event, ms_ago: i64) -> Task {
    transition(task, &event, NOW_MS - ms_ago).unwrap().task
}

fn claim() -> Event {
    Event::Claim { worker_id: "w-a".into(), session_id: 4, handout_ttl_ms: 9_000 }
}

const FENCE: Fence = Fence { attempt: 1, session_id: 4 };

fn running(needs: Resources) -> Task {
    let task = after(&task(needs), claim(), 5 * MINUTE_MS);
    after(&task, Event::Start { fence: FENCE, lease_ttl_ms: DAY_MS }, 4 * MINUTE_MS)
}

fn settled(settle: Settle) -> Task {
    let event = Event::Settle { fence: FENCE, settle, digest: 1, exit_code: None, usage: None };
    after(&running(Resources::default()), event, 1_000)
}

fn failed(hint: RetryHint) -> Task {
    let (reason, message) = (FailureReason::OutOfMemory, "64 GiB were too few".to_owned());
    settled(Settle::Fail { reason, message, hint })
}

fn gpu(index: i32) -> Gpu {
    Gpu {
        uuid: format!("GPU-{index}"),
        index,
        model: "NVIDIA A100".into(),
        memory_bytes: 40 * GIB,
        ..Gpu::default()
    }
}

fn foreign(index: i32) -> Gpu {
    let process = Process {
        pid: 4_242,
        user: "bob".into(),
        command: "python train.py".into(),
        since_ms: Some(NOW_MS - 2 * DAY_MS),
        blocks: true,
        ..Process::default()
    };
    Gpu { state: GpuState::Foreign, processes: vec![process], ..gpu(index) }
}

fn busy(index: i32, end_in_ms: Option<i64>) -> Running {
    Running {
        task_id: format!("train-1-000000000000{index}"),
        gpus: vec![format!("GPU-{index}")],
        end_time_max_ms: end_in_ms.map(|ms| NOW_MS + ms),
        ..Running::default()
    }
}

/// Worker `w-<letter>` on `host-<letter>`.
fn host(letter: char, gpus: Vec<Gpu>, running: Vec<Running>) -> Host {
    Host {
        worker_id: format!("w-{letter}"),
        name: format!("host-{letter}"),
        slots: 8,
        running: running.len() as u32,
        is_alive: true,
        report: Some(Report {
            cpu_millis: 16_000,
            cpu_free_millis: 4_000,
            memory_bytes: 64 * GIB,
            memory_free_bytes: 8 * GIB,
            gpus,
            running,
        }),
        ..Host::default()
    }
}

fn ask(task: &Task, hosts: &[Host], ahead: u32) -> Explained {
    explain(&Subject {
        task,
        now_ms: NOW_MS,
        is_type_paused: false,
        hosts,
        ahead: Some(Ahead::Exactly(ahead)),
        waits_for: &[],
        holds: &[],
    })
}

fn kinds(explained: &Explained) -> Vec<Kind> {
    explained.reasons.iter().map(|reason| reason.kind).collect()
}

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
        (gpus(1), vec![], "no worker is there for the type train; 3 tasks are before it"),
        (a_slot(), vec![other], "no worker is there for the type train; 3 tasks are before it"),
        (
            gpus(1),
            shut(|host| host.is_cordoned = true),
            "no host with 1 GPU takes tasks now: host-a is cordoned; 3 tasks are before it",
        ),
        (
            a_slot(),
            shut(|host| host.is_draining = true),
            "no host with a slot takes tasks now: host-a is draining; 3 tasks are before it",
        ),
        (
            a_slot(),
            shut(|host| host.is_alive = false),
            "no host with a slot takes tasks now: host-a was not heard of lately; \
             3 tasks are before it",
        ),
        (
            Resources { cpu_millis: 500, ..a_slot() },
            shut(|host| host.report = None),
            "no host with 0.5 cores takes tasks now: host-a does not report what it has; \
             3 tasks are before it",
        ),
        (
            gpus(8),
            vec![host('a', four(), vec![]), host('b', vec![], vec![])],
            "no host could ever give it 8 GPUs on one host: host-a has 4 such and \
             host-b has no such GPU; 3 tasks are before it",
        ),
        (
            Resources { host: "host-z".into(), gpu_model: "h100".into(), ..gpus(1) },
            vec![host('a', four(), vec![])],
            "no host could ever give it 1 GPU (h100): host-a is not host-z and has no such GPU; \
             3 tasks are before it",
        ),
        (
            Resources { memory_bytes: 100 * GIB, cpu_millis: 32_000, ..a_slot() },
            vec![host('a', vec![], vec![])],
            "no host could ever give it 32 cores and 100 GiB of memory: host-a has 16 cores and \
             has 64 GiB of memory; 3 tasks are before it",
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
            "waiting for 16 GiB of memory: host-a has 8 GiB of memory free; 3 tasks are before it",
        ),
        (
            Resources { gpu_memory_bytes: 60 * GIB, ..a_slot() },
            vec![host('a', four(), vec![])],
            "no host could ever give it 60 GiB of one GPU: host-a has no such GPU; \
             3 tasks are before it",
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
fn a_stranger_is_named() {
    let mut all: Vec<Gpu> = (0..4).map(gpu).collect();
    all[1] = foreign(1);
    let hosts = [
        host('b', (0..4).map(gpu).collect(), (0..4).map(|n| busy(n, None)).collect()),
        host('a', all, vec![]),
    ];
    let explained = ask(&task(gpus(4)), &hosts, 3);
    let wanted = "waiting for 4 GPUs on one host: host-a has 3 free, GPU 1 is held by pid 4242 \
                  (bob, python train.py) since 2 d, 1 other host is no better; \
                  3 tasks are before it";
    assert_eq!(explained.summary, wanted);
    let short = Kind::TooLittleFree;
    assert_eq!(kinds(&explained), [short, Kind::ForeignProcess, short, Kind::Queued]);
    let stranger = &explained.reasons[1];
    assert_eq!((stranger.host.as_str(), stranger.gpu.as_str()), ("host-a", "GPU-1"));
    assert_eq!(stranger.process.as_ref().map(|process| process.pid), Some(4_242));
    assert_eq!(explained.reasons[2].message, "host-b has none free");
    assert_eq!(explained.earliest_start_ms, None, "nobody knows when they end");
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
            "GPU 0 was used by somebody else a moment ago for another 5 min",
        ),
        (
            GpuState::Quarantined,
            until_ms,
            "XID 79",
            "GPU 0 has shown a fault for another 5 min (XID 79)",
        ),
        (GpuState::Broken, None, "XID 48", "GPU 0 is broken (XID 48)"),
    ];
    for (state, until_ms, reason, message) in cases {
        let gpu = Gpu { state, until_ms, reason: reason.into(), ..gpu(0) };
        let explained = ask(&task(gpus(1)), &[host('a', vec![gpu], vec![])], 0);
        let wanted = format!("waiting for 1 GPU: host-a has none free, {message}");
        assert_eq!(explained.summary, wanted);
        assert_eq!(kinds(&explained), [Kind::TooLittleFree, Kind::GpuUnavailable]);
        assert_eq!(explained.earliest_start_ms, until_ms);
    }
}

#[test]
fn shares_are_counted_together_with_what_strangers_hold() {
    let share = |number, bytes| Running { gpu_share_bytes: bytes, ..busy(number, Some(MINUTE_MS)) };
    let needs = Resources { gpu_memory_bytes: 10 * GIB, ..Resources::default() };
    let used = Gpu { memory_used_bytes: 15 * GIB, ..gpu(0) };
    let room = [host('a', vec![used], vec![share(0, 20 * GIB)])];
    let explained = ask(&task(needs.clone()), &room, 0);
    assert_eq!(explained.summary, "it is next, host-a has room for it");
    let full = [host('a', vec![gpu(0)], vec![share(0, 20 * GIB), share(0, 15 * GIB)])];
    let explained = ask(&task(needs), &full, 0);
    let wanted = "waiting for 10 GiB of one GPU: host-a has 5 GiB free on one GPU at most";
    assert_eq!(explained.summary, wanted);
    assert_eq!(explained.earliest_start_ms, Some(NOW_MS + MINUTE_MS));
}

#[test]
fn the_earliest_start_is_when_enough_have_ended_by_their_limits() {
    let all = || (0..3).map(gpu).collect::<Vec<_>>();
    let ends = |ends: [Option<i64>; 3]| {
        let running = (0..).zip(ends).map(|(n, end)| busy(n, end)).collect();
        [host('a', all(), running)]
    };
    let (one, two, three) = (Some(MINUTE_MS), Some(2 * MINUTE_MS), Some(3 * MINUTE_MS));
    for (wanted, hosts, earliest_ms) in [
        (1, ends([three, one, two]), one),
        (2, ends([three, one, two]), two),
        (2, ends([None, one, two]), two),
        (3, ends([None, one, two]), None),
    ] {
        let explained = ask(&task(gpus(wanted)), &hosts, 0);
        assert_eq!(explained.earliest_start_ms, earliest_ms.map(|ms| NOW_MS + ms), "{wanted}");
    }
}

#[test]
fn a_host_that_gave_it_away_is_not_in_question_while_there_are_others() {
    let needs = Resources { avoid_host: "host-a".into(), ..gpus(1) };
    let free = || host('a', vec![gpu(0)], vec![]);
    let full = host('b', vec![gpu(0)], vec![busy(0, None)]);
    let explained = ask(&task(needs.clone()), &[free(), full], 0);
    assert_eq!(explained.summary, "waiting for 1 GPU: host-b has none free");
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
    assert_eq!(explain(&subject).summary, "at least 1000 tasks are before it");
    assert_eq!(ask(&task, &hosts, 1).summary, "1 task is before it");
}

#[test]
fn kinds_have_the_numbers_one_to_seventeen() {
    let codes: Vec<i32> = Kind::ALL.into_iter().map(Kind::code).collect();
    assert_eq!(codes, (1..=17).collect::<Vec<_>>());
}

#[test]
fn gpus_that_are_free_may_be_kept_for_somebody_else() {
    let hosts = [host('a', vec![gpu(0), gpu(1)], vec![busy(1, None)])];
    let one = task(gpus(1));
    let big = TaskId { key: 3, ..one.id.clone() };
    let held = Held {
        task_id: big.clone(),
        worker_id: "w-a".into(),
        gpus: vec!["GPU-0".into(), "GPU-1".into()],
        start_ms: None,
    };
    let subject = Subject {
        task: &one,
        now_ms: NOW_MS,
        is_type_paused: false,
        hosts: &hosts,
        ahead: Some(Ahead::Exactly(0)),
        waits_for: &[],
        holds: std::slice::from_ref(&held),
    };
    let explained = explain(&subject);
    assert_eq!(kinds(&explained), [Kind::TooLittleFree, Kind::HeldForOthers]);
    let kept = format!("1 free GPU is kept for {big}, which needs 2 and has waited for long");
    assert_eq!(explained.reasons[1].message, kept);
    assert!(explained.summary.contains(&kept), "{}", explained.summary);
    assert_eq!(explained.earliest_start_ms, None, "nobody knows when the other has what it needs");

    let own = Held { task_id: one.id.clone(), ..held.clone() };
    let explained = explain(&Subject { holds: &[own], ..subject });
    assert_eq!(kinds(&explained), [Kind::Queued], "it is kept for this very task");
}
