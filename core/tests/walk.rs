//! Random walks through the state machine: whatever happens in whatever order, the invariants hold,
//! and every edge of the table is really reached.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;

use asyncflow_core::{
    create::NewTask,
    edge::EDGES,
    event::{Event, Fence, HandOver, RetryHint, Settle, TaskPatch, Tie, Until},
    id::{EPOCH_MS, ShardId, TaskId, TypeName},
    invariant::{check_step, check_task},
    order::pending_order_ms,
    reason::FailureReason,
    retry::RetryPatch,
    state::TaskState,
    task::{Content, Failure, Progress, Task},
    task_type::TaskType,
    transition::{Refusal, transition},
};
use proptest::prelude::*;

const START_MS: i64 = EPOCH_MS + 1_000_000;
const TTL_MS: i64 = 30_000;
const KINDS: u8 = 25;

fn new_task(state: TaskState, max_retries: i32) -> Task {
    let task_type = TypeName::new("train").unwrap();
    let new = NewTask {
        priority: Some(3),
        retry: RetryPatch { max_retries: Some(max_retries), ..RetryPatch::default() },
        not_before_ms: (state == TaskState::Scheduled).then_some(START_MS + 5_000),
        // Some tasks succeed with any result, the others with this one.
        success_if: if max_retries % 2 == 0 { "result == 7".into() } else { String::new() },
        ..NewTask::new(task_type.clone(), "alice")
    };
    let mut defaults = TaskType::with_defaults(task_type.clone(), START_MS);
    defaults.max_crashes = max_retries % 2;
    let id = TaskId { shard: ShardId { task_type, number: 1 }, key: 77 };
    let mut task = new.into_task(&defaults, id, START_MS).task;
    if state == TaskState::Blocked {
        task.state = TaskState::Blocked;
        task.order_time_ms = START_MS;
    }
    assert_eq!(task.state, state);
    task
}

fn patch(pick: u64, now_ms: i64) -> TaskPatch {
    let ahead_ms = [-5_000, 0, 5_000, 200_000][pick as usize / 7 % 4];
    let mut patch = TaskPatch::default();
    match pick % 6 {
        0 => patch.priority = Some((pick % 2_001) as i32 - 1_000),
        1 => patch.not_before_ms = Some(Some(now_ms + ahead_ms)),
        2 => patch.not_before_ms = Some(None),
        3 => patch.retry.max_retries = Some((pick % 4) as i32),
        4 => patch.retry.interval_ms = Some(1 + (pick % 10_000) as i64),
        _ => patch.expected_revision = Some((pick % 20) as i64),
    }
    patch
}

fn settle(kind: u8, pick: u64) -> Settle {
    let message = "m".to_owned();
    let hints = [RetryHint::ByPolicy, RetryHint::AfterMs(9_000), RetryHint::Never];
    match kind {
        6 => {
            let seven = Content { data: "7".into(), ..Content::default() };
            Settle::complete(pick.is_multiple_of(2).then_some(seven))
        }
        23 => {
            let until = Until { children: true, signals: Vec::new() };
            let failure = Failure { reason: FailureReason::Error, message: message.clone() };
            let or_fail = pick.is_multiple_of(3).then_some(failure);
            Settle::Wait { until, message, is_pending: pick.is_multiple_of(2), or_fail }
        }
        7 => {
            let reason = FailureReason::ALL[(pick / 3) as usize % FailureReason::ALL.len()];
            Settle::Fail { reason, message, hint: hints[pick as usize % 3] }
        }
        _ => {
            let delay_ms = 1_000 * (pick as i64 % 3 - 1);
            let context = pick.is_multiple_of(5).then(Content::default);
            let avoid_host = pick.is_multiple_of(2).then(|| "host".to_owned());
            let hand_over = HandOver { context, avoid_host };
            Settle::Release { reason: FailureReason::HandedOver, message, delay_ms, hand_over }
        }
    }
}

/// One event; mostly with the fence in force, sometimes with another.
fn event(kind: u8, pick: u64, task: &Task, now_ms: i64) -> Event {
    let mut fence = Fence { attempt: task.attempt, session_id: task.holder.session_id };
    match pick % 10 {
        0 => fence.attempt -= 1,
        1 => fence.session_id += 1,
        _ => {}
    }
    match kind {
        0 => Event::Claim { worker_id: "w".into(), session_id: 5, handout_ttl_ms: 10_000 },
        1 => Event::Start { fence, lease_ttl_ms: TTL_MS },
        2 => Event::Heartbeat { fence, lease_ttl_ms: TTL_MS },
        3 => Event::Adopt { fence, session_id: 6 + (pick % 3) as i64, lease_ttl_ms: TTL_MS },
        4 => {
            let metrics = [(format!("metric {}", pick % 99), 1.0)].into();
            Event::Report { fence, progress: Progress { metrics, ..Progress::default() } }
        }
        5 => Event::SaveContext {
            fence,
            stage: Some("s".into()),
            context: (pick.is_multiple_of(2)).then(Content::default),
            expected_version: (pick.is_multiple_of(3)).then_some(task.context_version),
        },
        6..=8 | 23 => {
            let settle = settle(kind, pick);
            let digest = asyncflow_core::digest::settle(&settle, None);
            Event::Settle { fence, settle, digest, exit_code: None, usage: None }
        }
        9 => Event::LeaseExpired,
        10 => Event::WorkerRestarted,
        11 => Event::Promote,
        12 => Event::Unblock,
        13 => Event::DependencyFail { message: "d".into() },
        14 => Event::Expire,
        15 => Event::Cancel { message: "c".into() },
        16 => {
            Event::Retry { from_start: pick.is_multiple_of(2), is_waiting: pick.is_multiple_of(3) }
        }
        17 => Event::Pause,
        18 => Event::Resume,
        19 => Event::ExpireResult,
        20 => Event::MakeChildren { fence },
        21 => Event::Bind([Tie::Awaited, Tie::Signalled, Tie::Twinned][pick as usize % 3]),
        // Seldom, or walks would be short.
        24 if pick.is_multiple_of(8) => Event::Overtake { twin: task.id.clone(), result: None },
        _ => Event::Update(patch(pick, now_ms)),
    }
}

type Seen = BTreeSet<(TaskState, &'static str, TaskState)>;

/// Applies the steps, checks every one, and notes the edges that were taken.
fn walk(mut task: Task, steps: &[(u8, u64, i64)], seen: &mut Seen) {
    check_task(&task).unwrap();
    let mut now_ms = START_MS;
    for &(kind, pick, dt_ms) in steps {
        now_ms += dt_ms;
        let event = event(kind, pick, &task, now_ms);
        let before = task.clone();
        match transition(&task, &event, now_ms) {
            Ok(after) => {
                check_step(&task, &event, &after)
                    .unwrap_or_else(|rule| panic!("{rule}: {task:?} by {event:?} to {after:?}"));
                seen.insert((task.state, event.name(), after.task.state));
                assert_fenced(&task, &event);
                task = after.task;
            }
            Err(refusal) => assert_reasoned(&before, &event, &refusal),
        }
    }
}

/// What was accepted from a worker came from the attempt and session in force.
fn assert_fenced(task: &Task, event: &Event) {
    if let Event::Start { fence, .. }
    | Event::Heartbeat { fence, .. }
    | Event::Adopt { fence, .. }
    | Event::Report { fence, .. }
    | Event::SaveContext { fence, .. }
    | Event::MakeChildren { fence }
    | Event::Settle { fence, .. } = event
    {
        assert_eq!(fence.attempt, task.attempt);
        assert_eq!(fence.session_id, task.holder.session_id);
        assert!(task.state.is_leased());
    }
}

/// A refusal names the state it met; LEASE_LOST never goes to the holder of a lease in force.
fn assert_reasoned(task: &Task, event: &Event, refusal: &Refusal) {
    match refusal {
        Refusal::IllegalState { state, .. } => assert_eq!(*state, task.state, "{event:?}"),
        Refusal::LeaseLost { given, in_force } => {
            assert_eq!(*in_force, task.attempt);
            assert!(given != in_force || !task.state.is_leased(), "{event:?} on {task:?}");
        }
        _ => {}
    }
}

fn beginnings() -> impl Strategy<Value = TaskState> {
    let states = vec![TaskState::Pending, TaskState::Scheduled, TaskState::Blocked];
    proptest::sample::select(states)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn invariants_hold_along_every_walk(
        begin in beginnings(),
        max_retries in 0..4,
        steps in proptest::collection::vec((0..KINDS, any::<u64>(), 0..20_000_i64), 1..200),
    ) {
        walk(new_task(begin, max_retries), &steps, &mut Seen::new());
    }

    /// The database's clock may go back (a restored virtual machine): nothing of it breaks a row.
    #[test]
    fn a_clock_that_jumps_breaks_nothing_but_times(
        steps in proptest::collection::vec((0..KINDS, any::<u64>(), -90_000..90_000_i64), 1..100),
    ) {
        walk(new_task(TaskState::Pending, 3), &steps, &mut Seen::new());
    }
}

#[test]
fn every_edge_of_the_table_is_reached_and_no_other() {
    let mut seen = Seen::new();
    // xorshift: the same walks every time.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for round in 0..15_000 {
        let begin = [TaskState::Pending, TaskState::Scheduled, TaskState::Blocked][round % 3];
        let steps: Vec<_> = (0..40)
            .map(|_| ((next() % u64::from(KINDS)) as u8, next() >> 1, (next() % 40_000) as i64))
            .collect();
        walk(new_task(begin, (round % 4) as i32), &steps, &mut seen);
    }
    let table: Seen = EDGES
        .iter()
        .flat_map(|edge| edge.from.iter().map(move |from| (edge, *from)))
        .flat_map(|(edge, from)| edge.to.iter().map(move |to| (from, edge.event, *to)))
        .collect();
    let missed: Vec<_> = table.difference(&seen).collect();
    assert!(missed.is_empty(), "in the table, but never taken: {missed:?}");
    let extra: Vec<_> = seen.difference(&table).collect();
    assert!(extra.is_empty(), "taken, but not in the table: {extra:?}");
}

proptest! {
    #[test]
    fn pause_and_resume_restore_state_and_order(
        begin in beginnings(),
        priority in -1_000..=1_000_i32,
        wait_ms in 0..1_000_000_i64,
    ) {
        let task = new_task(begin, 0);
        let paused = transition(&task, &Event::Pause, START_MS + 1).unwrap().task;
        let patch = TaskPatch { priority: Some(priority), ..TaskPatch::default() };
        let changed = transition(&paused, &Event::Update(patch), START_MS + 2).unwrap().task;
        let resumed = transition(&changed, &Event::Resume, START_MS + 3 + wait_ms).unwrap().task;
        prop_assert_eq!(resumed.state, task.state);
        let expected_ms = match begin {
            TaskState::Pending => pending_order_ms(START_MS, priority),
            _ => task.order_time_ms,
        };
        prop_assert_eq!(resumed.order_time_ms, expected_ms);
    }
}
