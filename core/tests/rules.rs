//! Rules of the state machine that a walk does not name: replay, seniority, budgets, times.
#![allow(clippy::unwrap_used, reason = "tests")]

use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence, HandOver, RetryHint, Settle, TaskPatch, Until},
    id::{EPOCH_MS, TypeName},
    reason::FailureReason,
    retry::RetryPolicy,
    state::TaskState,
    task::{AttemptOutcome, Content, Progress, Task},
    task_type::TaskType,
    transition::{Refusal, transition},
};

const T0: i64 = EPOCH_MS + 1_000_000;
const FENCE: Fence = Fence { attempt: 1, session_id: 5 };

fn pending() -> Task {
    let name = TypeName::new("train").unwrap();
    let new = NewTask { priority: Some(10), ..NewTask::new(name.clone(), "alice") };
    let task_type = TaskType::with_defaults(name, T0);
    new.into_task(&task_type, "train-1-0000000000001".parse().unwrap(), T0).task
}

fn apply(task: &Task, event: Event, now_ms: i64) -> Task {
    transition(task, &event, now_ms).unwrap().task
}

fn claim() -> Event {
    Event::Claim { worker_id: "w".into(), session_id: 5, handout_ttl_ms: 10_000 }
}

fn running() -> Task {
    let claimed = apply(&pending(), claim(), T0 + 1_000);
    apply(&claimed, Event::Start { fence: FENCE, lease_ttl_ms: 30_000 }, T0 + 1_001)
}

fn end(settle: Settle) -> Event {
    let digest = asyncflow_core::digest::settle(&settle, None);
    Event::Settle { fence: FENCE, settle, digest, exit_code: None, usage: None }
}

fn fail(hint: RetryHint) -> Event {
    end(Settle::Fail { reason: FailureReason::Error, message: "boom".into(), hint })
}

#[test]
fn a_replayed_settle_is_ok_and_another_one_is_not() {
    let complete = end(Settle::complete(None));
    let done = apply(&running(), complete.clone(), T0 + 2_000);
    assert_eq!(transition(&done, &complete, T0 + 3_000), Err(Refusal::AlreadyDone));
    let other = transition(&done, &fail(RetryHint::ByPolicy), T0 + 3_000);
    assert_eq!(other, Err(Refusal::LeaseLost { given: 1, in_force: 1 }));
}

#[test]
fn a_settle_that_a_restarted_worker_repeats_is_known() {
    let complete = Settle::complete(None);
    let done = apply(&running(), end(complete.clone()), T0 + 2_000);
    let by_new_session = |settle: Settle, attempt| Event::Settle {
        fence: Fence { attempt, session_id: 6 },
        digest: asyncflow_core::digest::settle(&settle, None),
        settle,
        exit_code: None,
        usage: None,
    };
    let replay = by_new_session(complete.clone(), 1);
    assert_eq!(transition(&done, &replay, T0 + 3_000), Err(Refusal::AlreadyDone));
    // Of another attempt, with another ending, or while the attempt runs, it is somebody else's.
    let other = transition(&done, &by_new_session(complete.clone(), 2), T0 + 3_000);
    assert_eq!(other, Err(Refusal::LeaseLost { given: 2, in_force: 1 }));
    let failed = Settle::Fail {
        reason: FailureReason::Error,
        message: "boom".into(),
        hint: RetryHint::ByPolicy,
    };
    let other = transition(&done, &by_new_session(failed, 1), T0 + 3_000);
    assert_eq!(other, Err(Refusal::NotYourLease));
    let foreign = transition(&running(), &by_new_session(complete, 1), T0 + 3_000);
    assert_eq!(foreign, Err(Refusal::NotYourLease));
}

#[test]
fn a_replay_is_ok_after_a_failure_too_until_the_next_claim() {
    let failed = apply(&running(), fail(RetryHint::ByPolicy), T0 + 2_000);
    let replay = fail(RetryHint::ByPolicy);
    assert_eq!(transition(&failed, &replay, T0 + 2_500), Err(Refusal::AlreadyDone));
    let promoted = apply(&failed, Event::Promote, T0 + 3_000);
    let again = apply(&promoted, claim(), T0 + 3_001);
    let lost = Refusal::LeaseLost { given: 1, in_force: 2 };
    assert_eq!(transition(&again, &replay, T0 + 3_002), Err(lost));
}

#[test]
fn a_digest_of_zero_is_nobodys_replay() {
    let reaped = apply(&running(), Event::LeaseExpired, T0 + 40_000);
    let forged = Event::Settle {
        fence: FENCE,
        settle: Settle::complete(None),
        digest: 0,
        exit_code: None,
        usage: None,
    };
    let refused = transition(&reaped, &forged, T0 + 40_001);
    assert_eq!(refused, Err(Refusal::LeaseLost { given: 1, in_force: 1 }));
}

#[test]
fn a_completion_after_the_lease_ran_out_but_before_the_reap_counts() {
    let late = apply(&running(), end(Settle::complete(None)), T0 + 999_999);
    assert_eq!(late.state, TaskState::Succeeded);
}

#[test]
fn a_heartbeat_between_look_and_reap_saves_the_task() {
    let beat = Event::Heartbeat { fence: FENCE, lease_ttl_ms: 30_000 };
    let renewed = apply(&running(), beat, T0 + 50_000);
    let reap = transition(&renewed, &Event::LeaseExpired, T0 + 50_001);
    assert!(matches!(reap, Err(Refusal::IllegalState { state: TaskState::Running, .. })));
}

#[test]
fn waits_double_and_the_task_steps_back_in_the_queue() {
    let first = apply(&running(), fail(RetryHint::ByPolicy), T0 + 2_000);
    assert_eq!((first.state, first.order_time_ms), (TaskState::Scheduled, T0 + 3_000));
    let early = transition(&first, &Event::Promote, T0 + 2_999);
    assert!(matches!(early, Err(Refusal::IllegalState { .. })));
    let promoted = apply(&first, Event::Promote, T0 + 9_000);
    assert_eq!(promoted.order_time_ms, T0 + 3_000 - 10_000);
    let asked = apply(&running(), fail(RetryHint::AfterMs(60_000)), T0 + 2_000);
    assert_eq!(asked.order_time_ms, T0 + 62_000);
}

#[test]
fn the_budget_is_spent_by_failures_and_not_by_releases_or_crashes() {
    let mut task = pending();
    for attempt in 1..=4 {
        let fence = Fence { attempt, session_id: 5 };
        task = apply(&task, claim(), T0);
        let settle = Settle::release(FailureReason::Checkpointed, "", 0);
        task = apply(
            &task,
            Event::Settle { fence, settle, digest: 9, exit_code: None, usage: None },
            T0,
        );
    }
    assert_eq!((task.state, task.failures, task.crashes), (TaskState::Pending, 0, 0));
    assert_eq!(task.order_time_ms, T0 - 10_000, "released tasks keep their seniority");
}

#[test]
fn who_is_handed_over_takes_its_context_along_and_keeps_away() {
    let context = Content { data: "{\"offset\":100000}".into(), ..Content::default() };
    let hand_over =
        HandOver { context: Some(context.clone()), avoid_host: Some("host-a".to_owned()) };
    let (reason, message) = (FailureReason::HandedOver, "full".to_owned());
    let settle = Settle::Release { reason, message, delay_ms: 0, hand_over };
    let after = transition(&running(), &end(settle.clone()), T0 + 2_000).unwrap();
    let task = &after.task;
    assert_eq!((task.state, task.failures, task.crashes), (TaskState::Pending, 0, 0));
    assert_eq!((task.context_version, after.context), (1, Some(context)));
    let needs = task.resources.as_deref().unwrap();
    assert_eq!(needs.avoid_host, "host-a");
    let ended = after.ended.unwrap();
    assert_eq!(ended.failure.unwrap().reason, FailureReason::HandedOver);
    assert_eq!(ended.outcome, AttemptOutcome::Released);
    // Until it runs elsewhere, or its owner begins anew with it.
    let claimed = apply(task, claim(), T0 + 3_000);
    assert_eq!(claimed.resources.as_deref().unwrap().avoid_host, "host-a");
    let fence = Fence { attempt: claimed.attempt, ..FENCE };
    let started = apply(&claimed, Event::Start { fence, lease_ttl_ms: 30_000 }, T0 + 3_001);
    assert_eq!(started.resources, None);
    let cancelled = apply(task, Event::Cancel { message: String::new() }, T0 + 3_000);
    let retry = Event::Retry { from_start: false, is_waiting: false };
    assert_eq!(apply(&cancelled, retry, T0 + 4_000).resources, None);
    // Nothing of it counts any more for one that is cancelled.
    let cancelling = apply(&running(), Event::Cancel { message: String::new() }, T0 + 2_000);
    let cancelled = transition(&cancelling, &end(settle), T0 + 2_001).unwrap();
    assert_eq!((cancelled.task.state, cancelled.context), (TaskState::Cancelled, None));
    assert_eq!(cancelled.task.resources, None);
}

#[test]
fn a_task_that_loses_its_workers_again_and_again_is_poison() {
    let task = lost_times(pending(), 4);
    assert_eq!(task.state, TaskState::Failed);
    assert_eq!(task.failure.unwrap().reason, FailureReason::Poison);
}

fn lost_times(mut task: Task, times: i32) -> Task {
    let mut now_ms = T0;
    for _ in 0..times {
        if task.state == TaskState::Scheduled {
            now_ms = task.order_time_ms;
            task = apply(&task, Event::Promote, now_ms);
        }
        task = apply(&task, claim(), now_ms);
        let fence = Fence { attempt: task.attempt, session_id: 5 };
        task = apply(&task, Event::Start { fence, lease_ttl_ms: 1 }, now_ms);
        task = apply(&task, Event::WorkerRestarted, now_ms + 5);
    }
    task
}

/// Or those that ran beside a poison task would come back with it, and end as poison too.
#[test]
fn tasks_that_fall_together_come_back_at_once_and_then_apart() {
    let again = lost_times(pending(), 1);
    assert_eq!(again.state, TaskState::Pending, "nobody waits for one crash");
    let due_ms: Vec<i64> = (1..=20)
        .map(|key| {
            let mut task = pending();
            task.id.key += key;
            let task = lost_times(task, 2);
            assert_eq!(task.state, TaskState::Scheduled);
            task.order_time_ms - T0
        })
        .collect();
    let back_off_ms = pending().retry.back_off_ms(2);
    assert!(due_ms.iter().all(|ms| (back_off_ms / 2..back_off_ms * 2).contains(ms)), "{due_ms:?}");
    let span_ms = due_ms.iter().max().unwrap() - due_ms.iter().min().unwrap();
    assert!(span_ms > back_off_ms / 2, "{due_ms:?}");
}

#[test]
fn what_was_not_started_goes_back_without_a_trace_in_the_counters() {
    let claimed = apply(&pending(), claim(), T0);
    let back = transition(&claimed, &Event::LeaseExpired, T0 + 10_001).unwrap();
    assert_eq!(back.task.state, TaskState::Pending);
    assert_eq!((back.task.crashes, back.task.failures, back.task.attempt), (0, 0, 1));
    assert_eq!(back.ended.unwrap().failure.unwrap().reason, FailureReason::NotStarted);
}

#[test]
fn not_before_holds_on_every_way_back_into_the_queue() {
    let later = T0 + 500_000;
    let patch = TaskPatch { not_before_ms: Some(Some(later)), ..TaskPatch::default() };
    let task = apply(&running(), Event::Update(patch), T0 + 2_000);
    assert_eq!(task.state, TaskState::Running);
    let release = Settle::release(FailureReason::Drained, "", 0);
    let cancelled = apply(&task, Event::Cancel { message: String::new() }, T0 + 3_000);
    let stopped = apply(&cancelled, fail(RetryHint::ByPolicy), T0 + 3_001);
    for back in [
        apply(&task, end(release), T0 + 3_000),
        apply(&task, fail(RetryHint::ByPolicy), T0 + 3_000),
        apply(&task, Event::LeaseExpired, T0 + 40_000),
        apply(&stopped, Event::retry(false), T0 + 4_000),
    ] {
        assert_eq!((back.state, back.order_time_ms), (TaskState::Scheduled, later));
    }
}

#[test]
fn what_was_unblocked_while_paused_resumes_into_the_queue() {
    let mut blocked = pending();
    blocked.state = TaskState::Blocked;
    let paused = apply(&blocked, Event::Pause, T0 + 1);
    let unblocked = apply(&paused, Event::Unblock, T0 + 2);
    assert_eq!(unblocked.state, TaskState::Paused);
    let resumed = apply(&unblocked, Event::Resume, T0 + 3);
    assert_eq!((resumed.state, resumed.order_time_ms), (TaskState::Pending, T0 + 2 - 10_000));
    let failed = apply(&paused, Event::DependencyFail { message: "a".into() }, T0 + 2);
    assert_eq!((failed.state, failed.paused_from), (TaskState::Failed, None));
}

#[test]
fn metrics_are_bounded_however_many_names_a_task_invents() {
    let mut task = running();
    for step in 0..1_000 {
        let metrics = [(format!("loss at {step}"), 0.5), ("loss at 0".into(), f64::from(step))];
        let progress = Progress { metrics: metrics.into(), ..Progress::default() };
        task = apply(&task, Event::Report { fence: FENCE, progress }, T0 + 2_000);
    }
    assert_eq!(task.progress.metrics.len(), asyncflow_core::limits::METRICS_MAX);
    assert_eq!(task.progress.metrics["loss at 0"], 999.0);
}

#[test]
fn an_adopted_lease_leaves_the_old_session_out() {
    let adopt = Event::Adopt { fence: FENCE, session_id: 8, lease_ttl_ms: 30_000 };
    let adopted = apply(&running(), adopt.clone(), T0 + 2_000);
    assert_eq!(transition(&adopted, &adopt, T0 + 2_001), Err(Refusal::AlreadyDone));
    let old = end(Settle::complete(None));
    assert_eq!(transition(&adopted, &old, T0 + 2_002), Err(Refusal::NotYourLease));
}

#[test]
fn cancel_races_complete_and_the_first_wins() {
    let cancelling = apply(&running(), Event::Cancel { message: "why".into() }, T0 + 2_000);
    let complete = end(Settle::complete(None));
    let won = apply(&cancelling, complete, T0 + 2_001);
    assert_eq!((won.state, won.failure), (TaskState::Succeeded, None));
    let stopped = apply(&cancelling, fail(RetryHint::ByPolicy), T0 + 2_001);
    assert_eq!(stopped.state, TaskState::Cancelled);
    assert_eq!(stopped.failure.unwrap().message, "why");
    assert_eq!(stopped.failures, 0);
}

fn complete(result: &str) -> Event {
    let content = Content { data: result.to_owned().into(), ..Content::default() };
    end(Settle::complete(Some(content)))
}

#[test]
fn a_result_that_does_not_hold_is_a_failure_by_the_retry_policy() {
    let with = |success_if: &str| Task { success_if: success_if.into(), ..running() };
    let good = apply(&with("result.loss < 0.5"), complete(r#"{"loss": 0.1}"#), T0 + 2_000);
    assert_eq!((good.state, &good.failure), (TaskState::Succeeded, &None));

    let said = |success_if: &str, result: &str| {
        let step = transition(&with(success_if), &complete(result), T0 + 2_000).unwrap();
        assert_eq!((step.task.state, step.task.failures), (TaskState::Scheduled, 1));
        assert_eq!(step.result, None, "nothing is kept of it");
        let failure = step.task.failure.unwrap();
        assert_eq!(failure.reason, FailureReason::ResultRefused);
        failure.message
    };
    assert_eq!(
        said("result.loss < 0.5", r#"{"loss": 0.9}"#),
        "success_if does not hold: result.loss < 0.5"
    );
    assert_eq!(said("result.loss", r#"{"loss": 0.9}"#).split(':').next(), {
        Some("success_if is neither true nor false")
    });
    assert!(said("result.loss < 0.5", "{}").starts_with("success_if result.loss < 0.5: "));
    let large = format!("[{}1]", "1,".repeat(20_000));
    assert!(said("result.all(x, result.exists(y, y == x))", &large).contains("could take"));

    let spent = Task { retry: RetryPolicy { max_retries: 0, ..with("").retry }, ..with("false") };
    assert_eq!(apply(&spent, complete("1"), T0 + 2_000).state, TaskState::Failed);
}

#[test]
fn what_waits_is_blocked_until_all_of_it_is_there() {
    let wait = |is_pending| {
        let until = Until { children: true, signals: vec!["go".into()] };
        end(Settle::Wait { until, message: "waits".into(), is_pending, or_fail: None })
    };
    let step = transition(&running(), &wait(true), T0 + 2_000).unwrap();
    assert_eq!(step.task.state, TaskState::Blocked);
    assert_eq!((step.task.failures, step.task.crashes), (0, 0));
    assert_eq!(step.ended.unwrap().outcome, asyncflow_core::task::AttemptOutcome::Released);
    let again = apply(&step.task, Event::Unblock, T0 + 3_000);
    assert_eq!(again.state, TaskState::Pending);
    assert_eq!(apply(&running(), wait(false), T0 + 2_000).state, TaskState::Pending);
    // The call is repeated: what the store found the first time does not make it another call.
    let digests = [true, false].map(|pending| match wait(pending) {
        Event::Settle { digest, .. } => digest,
        _ => 0,
    });
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn who_waits_for_what_is_there_fails_if_it_would_only_do_the_same_again() {
    let wait = |is_pending| {
        let until = Until { children: true, signals: Vec::new() };
        let failure = asyncflow_core::task::Failure {
            reason: FailureReason::Error,
            message: "stands still".into(),
        };
        let or_fail = Some(failure);
        end(Settle::Wait { until, message: "waits".into(), is_pending, or_fail })
    };
    assert_eq!(apply(&running(), wait(true), T0 + 2_000).state, TaskState::Blocked);
    let failed = transition(&running(), &wait(false), T0 + 2_000).unwrap();
    assert_eq!((failed.task.state, failed.task.failures), (TaskState::Scheduled, 1));
    assert!(failed.task.order_time_ms > T0 + 2_000, "it steps back");
    assert_eq!(failed.ended.unwrap().failure.unwrap().message, "stands still");
}
