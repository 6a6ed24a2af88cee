//! What happens to tasks, rolled.

use asyncflow_core::{
    digest,
    event::{Event, Fence, HandOver, RetryHint, Settle, TaskPatch},
    reason::FailureReason,
    task::{Content, Labels, Progress, Task},
};
use asyncflow_store::testing::Dice;

/// Leases that nobody waits for: they ended long ago, or end when the walk is over.
pub const LEASES_MS: [i64; 4] = [-3_600_000, 600_000, 600_000, 600_000];
/// Times for which a task waits: gone by, later than the walk lasts, and soon.
const AHEAD_MS: [i64; 4] = [-5_000, 3_600_000, 7_200_000, 3];

pub fn content(dice: &mut Dice) -> Content {
    let data = ["", "a", "{\"at\": 7}", "ü—x"][dice.roll(4)].to_owned().into();
    Content { data, content_type: ["", "text/plain"][dice.roll(2)].into() }
}

pub fn labels(dice: &mut Dice) -> Labels {
    let mut labels = Labels::new();
    for (name, values) in [("team", ["audio", "vision"]), ("run", ["1", "2"])] {
        if dice.one_in(2) {
            labels.insert(name.into(), values[dice.roll(2)].into());
        }
    }
    labels
}

pub fn not_before_ms(dice: &mut Dice, now_ms: i64) -> i64 {
    now_ms + AHEAD_MS[dice.roll(AHEAD_MS.len())]
}

fn patch(dice: &mut Dice, task: &Task, now_ms: i64) -> TaskPatch {
    let mut patch = TaskPatch::default();
    match dice.roll(6) {
        0 => patch.priority = Some(dice.roll(7) - 3),
        1 => patch.not_before_ms = Some(Some(not_before_ms(dice, now_ms))),
        2 => patch.not_before_ms = Some(None),
        3 => patch.retry.max_retries = Some(dice.roll(4)),
        4 => patch.name = Some(format!("renamed {}", dice.roll(9))),
        _ => patch.labels = Some(labels(dice)),
    }
    if dice.one_in(2) {
        patch.expected_revision = Some(task.revision - i64::from(dice.one_in(3)));
    }
    patch
}

fn settle(dice: &mut Dice) -> Settle {
    let message = format!("said {}", dice.roll(3));
    match dice.roll(6) {
        0..3 => Settle::complete(dice.one_in(2).then(|| content(dice))),
        3..5 => {
            let reason = match dice.one_in(3) {
                true => dice.of_these(&FailureReason::ALL),
                false => FailureReason::Error,
            };
            let hints = [RetryHint::ByPolicy, RetryHint::AfterMs(3), RetryHint::Never];
            Settle::Fail { reason, message, hint: dice.of_these(&hints) }
        }
        _ => {
            let delay_ms = [0, 0, 3, 3_600_000][dice.roll(4)];
            let context = dice.one_in(3).then(|| content(dice));
            let hand_over = HandOver { context, avoid_host: None };
            Settle::Release { reason: FailureReason::Preempted, message, delay_ms, hand_over }
        }
    }
}

/// Something that a worker says of its task; now and then by a lease that is not in force.
pub fn by_worker(dice: &mut Dice, task: &Task, sessions: &[i64]) -> Event {
    let mut fence = Fence { attempt: task.attempt, session_id: task.holder.session_id };
    match dice.roll(12) {
        0 => fence.attempt -= 1,
        1 => fence.session_id = dice.pick(sessions).copied().unwrap_or(1),
        _ => {}
    }
    let lease_ttl_ms = dice.of_these(&LEASES_MS);
    match dice.roll(10) {
        0..2 => Event::Start { fence, lease_ttl_ms },
        2..4 => Event::Heartbeat { fence, lease_ttl_ms },
        4 => {
            let metrics = [("loss".to_owned(), dice.roll(9) as f64)].into();
            let message = ["", "on its way"][dice.roll(2)].into();
            let percent = dice.one_in(2).then(|| dice.roll(101) as f64);
            Event::Report { fence, progress: Progress { percent, message, metrics } }
        }
        5..7 => Event::SaveContext {
            fence,
            stage: dice.one_in(2).then(|| format!("stage {}", dice.roll(5))),
            context: dice.one_in(2).then(|| content(dice)),
            expected_version: match dice.roll(3) {
                0 => None,
                1 => Some(task.context_version),
                _ => Some(task.context_version - i64::from(dice.one_in(2))),
            },
        },
        _ => {
            let (settle, exit_code) = (settle(dice), [None, Some(0), Some(1)][dice.roll(3)]);
            let digest = digest::settle(&settle, exit_code);
            Event::Settle { fence, settle, digest, exit_code, usage: None }
        }
    }
}

/// Something that an owner asks for.
pub fn by_owner(dice: &mut Dice, task: &Task, now_ms: i64) -> Event {
    match dice.roll(10) {
        0..2 => Event::Cancel { message: format!("no need {}", dice.roll(3)) },
        2..4 => Event::retry(dice.one_in(2)),
        4 => Event::Pause,
        5 => Event::Resume,
        6 if dice.one_in(2) => Event::ExpireResult,
        _ => Event::Update(patch(dice, task, now_ms)),
    }
}
