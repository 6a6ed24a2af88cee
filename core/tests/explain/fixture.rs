//! What the explanations are made from: tasks, hosts, GPUs.

use std::sync::Arc;

use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence, RetryHint, Settle},
    explain::{
        Ahead, Explained, Gpu, GpuState, Host, Kind, Process, Report, Running, Subject, explain,
    },
    id::{EPOCH_MS, ShardId, TaskId, TypeName},
    reason::FailureReason,
    resources::Resources,
    task::Task,
    task_type::TaskType,
    transition::transition,
};

pub const NOW_MS: i64 = EPOCH_MS + 1_000_000_000;
pub const MINUTE_MS: i64 = 60_000;
pub const DAY_MS: i64 = 86_400_000;
pub const GIB: i64 = 1 << 30;

pub fn type_name(name: &str) -> TypeName {
    TypeName::new(name).unwrap()
}

pub fn task(needs: Resources) -> Task {
    let id = TaskId { shard: ShardId { task_type: type_name("train"), number: 1 }, key: 7 };
    let new = NewTask::new(type_name("train"), "ann");
    let settings = TaskType::with_defaults(type_name("train"), 0);
    let task = new.into_task(&settings, id, NOW_MS - 10 * MINUTE_MS).task;
    Task { resources: (needs != Resources::default()).then(|| Arc::new(needs)), ..task }
}

pub fn gpus(gpus: i32) -> Resources {
    Resources { gpus, ..Resources::default() }
}

pub fn after(task: &Task, event: Event, ms_ago: i64) -> Task {
    transition(task, &event, NOW_MS - ms_ago).unwrap().task
}

pub fn claim() -> Event {
    Event::Claim { worker_id: "w-a".into(), session_id: 4, handout_ttl_ms: 9_000 }
}

pub const FENCE: Fence = Fence { attempt: 1, session_id: 4 };

pub fn running(needs: Resources) -> Task {
    let task = after(&task(needs), claim(), 5 * MINUTE_MS);
    after(&task, Event::Start { fence: FENCE, lease_ttl_ms: DAY_MS }, 4 * MINUTE_MS)
}

pub fn settled(settle: Settle) -> Task {
    let event = Event::Settle { fence: FENCE, settle, digest: 1, exit_code: None, usage: None };
    after(&running(Resources::default()), event, 1_000)
}

pub fn failed(hint: RetryHint) -> Task {
    let (reason, message) = (FailureReason::OutOfMemory, "64 GiB were too few".to_owned());
    settled(Settle::Fail { reason, message, hint })
}

pub fn gpu(index: i32) -> Gpu {
    Gpu {
        uuid: format!("GPU-{index}"),
        index,
        model: "NVIDIA A100".into(),
        memory_bytes: 40 * GIB,
        ..Gpu::default()
    }
}

pub fn foreign(index: i32) -> Gpu {
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

pub fn busy(index: i32, end_in_ms: Option<i64>) -> Running {
    Running {
        task_id: format!("train-1-000000000000{index}"),
        gpus: vec![format!("GPU-{index}")],
        end_time_max_ms: end_in_ms.map(|ms| NOW_MS + ms),
        ..Running::default()
    }
}

/// Worker `w-<letter>` on `host-<letter>`.
pub fn host(letter: char, gpus: Vec<Gpu>, running: Vec<Running>) -> Host {
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
            ..Report::default()
        }),
        ..Host::default()
    }
}

pub fn ask(task: &Task, hosts: &[Host], ahead: u32) -> Explained {
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

pub fn kinds(explained: &Explained) -> Vec<Kind> {
    explained.reasons.iter().map(|reason| reason.kind).collect()
}
