//! Which tasks get twins, and what a twin is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence, Settle, Tie},
    id::{EPOCH_MS, ShardId, TaskId, TypeName},
    invariant::{check_step, check_task},
    reason::FailureReason,
    speculation::{Speculation, step_aside_ms, twin_of},
    state::TaskState,
    task::{AttemptOutcome, Content, FullTask, ResultChange, Task, Ties},
    task_type::TaskType,
    transition::{Refusal, Transition, transition},
    validate::task_type::{SpeculationInput, TaskTypeInput, task_type},
};

const NOW_MS: i64 = EPOCH_MS + 1_000_000;
const SETTINGS: Speculation =
    Speculation { factor_permille: 2_000, min_sample: 3, max_percent: 10, min_running_ms: 1_000 };

fn id(key: i64) -> TaskId {
    let task_type = TypeName::new("train").unwrap();
    TaskId { shard: ShardId { task_type, number: 1 }, key }
}

fn pending() -> FullTask {
    let new = NewTask {
        name: "fit".into(),
        success_if: "result == 7".into(),
        labels: [("team".to_owned(), "vision".to_owned())].into(),
        payload: Content { data: "do it".into(), ..Content::default() },
        priority: Some(-5),
        ..NewTask::new(id(1).task_type().clone(), "ann")
    };
    new.into_task(&TaskType::with_defaults(id(1).task_type().clone(), 0), id(1), NOW_MS)
}

fn step(task: &Task, event: &Event) -> Result<Transition, Refusal> {
    let after = transition(task, event, NOW_MS + 5_000)?;
    check_step(task, event, &after).unwrap();
    Ok(after)
}

fn running() -> Task {
    let claim = Event::Claim { worker_id: "w".into(), session_id: 4, handout_ttl_ms: 9_000 };
    let task = step(&pending().task, &claim).unwrap().task;
    let fence = Fence { attempt: 1, session_id: 4 };
    step(&task, &Event::Start { fence, lease_ttl_ms: 9_000 }).unwrap().task
}

fn overtake() -> Event {
    let result = Some(Content { data: "7".into(), ..Content::default() });
    Event::Overtake { twin: id(2), result }
}

#[test]
fn the_median_of_enough_tasks_is_what_is_usual() {
    assert_eq!(SETTINGS.usual_ms(&mut []), None);
    assert_eq!(SETTINGS.usual_ms(&mut [5, 1]), None, "too few");
    assert_eq!(SETTINGS.usual_ms(&mut [900, 1, 5]), Some(5));
    assert_eq!(SETTINGS.usual_ms(&mut [4, 3, 2, 1]), Some(3));
}

#[test]
fn stragglers_are_late_by_the_factor_and_long_enough() {
    assert_eq!(SETTINGS.lateness_permille(2_000, 1_000), None, "just twice is not over twice");
    assert_eq!(SETTINGS.lateness_permille(2_001, 1_000), Some(2_001));
    assert_eq!(SETTINGS.lateness_permille(999, 1), None, "it has hardly begun");
    assert_eq!(SETTINGS.lateness_permille(5_000, 0), Some(5_000_000), "they took no time");
    let running = [
        ("late", 3_000, Some(1_000)),
        ("usual", 3_000, Some(2_999)),
        ("unknown", 90_000, None),
        ("later", 90_000, Some(10_000)),
        ("worst", 10_000, Some(1)),
    ];
    assert_eq!(SETTINGS.stragglers(running, 9), ["worst", "later", "late"]);
    assert_eq!(SETTINGS.stragglers(running, 1), ["worst"]);
    assert!(SETTINGS.stragglers(running, 0).is_empty());
}

#[test]
fn twins_are_few() {
    assert_eq!(SETTINGS.room(100, 0), 10);
    assert_eq!(SETTINGS.room(100, 7), 3);
    assert_eq!(SETTINGS.room(100, 11), 0);
    assert_eq!(SETTINGS.room(3, 0), 1, "one in any case");
    assert_eq!(SETTINGS.room(3, 1), 0);
    assert_eq!(SETTINGS.room(-1, 0), 1);
    let waits = [step_aside_ms(1), step_aside_ms(2), step_aside_ms(7), step_aside_ms(i32::MAX)];
    assert_eq!(waits, [500, 1_000, 30_000, 30_000]);
}

#[test]
fn a_twin_does_the_same_once() {
    let mut original = pending();
    original.task = Task { stage: "epoch 3".into(), attempt: 4, failures: 1, ..running() };
    original.body.context.data = "saved".into();
    original.task.ties = Ties { awaited: true, twinned: true, ..Ties::default() };
    let FullTask { task, body } = twin_of(&original, id(2), NOW_MS + 9);
    check_task(&task).unwrap();
    assert_eq!((body.payload, body.context), (original.body.payload, original.body.context));
    assert_eq!(body.labels, original.body.labels);
    assert_eq!((task.stage.as_str(), task.name.as_str()), ("epoch 3", "fit"));
    assert_eq!(task.success_if, original.task.success_if);
    assert_eq!((task.state, task.attempt, task.retry.max_retries), (TaskState::Pending, 0, 0));
    assert_eq!(task.ties, Ties { twin: true, ..Ties::default() });
    assert!(task.order_time_ms < pending().task.order_time_ms, "it goes first");

    let refused = Refusal::Twin("given a twin");
    assert_eq!(step(&task, &Event::Bind(Tie::Twinned)), Err(refused));
    let cancelled = step(&task, &Event::Cancel { message: String::new() }).unwrap().task;
    let again = step(&cancelled, &Event::retry(false));
    assert_eq!(again, Err(Refusal::Twin("retried")));
    for code in 0..32 {
        assert_eq!(Ties::from_code(code).code(), code);
    }
}

#[test]
fn an_overtaken_task_has_its_result_and_its_attempt_the_reason() {
    let bound = step(&running(), &Event::Bind(Tie::Twinned)).unwrap().task;
    assert!(bound.ties.twinned);
    let after = step(&bound, &overtake()).unwrap();
    assert_eq!((after.task.state, &after.task.failure), (TaskState::Succeeded, &None));
    assert!(matches!(&after.result, Some(ResultChange::Keep(result)) if result.data == "7"));
    let ended = after.ended.unwrap();
    assert_eq!((ended.attempt, ended.outcome), (1, AttemptOutcome::Released));
    let failure = ended.failure.unwrap();
    assert_eq!(failure.reason, FailureReason::Overtaken);
    assert!(failure.message.contains(&id(2).to_string()), "{}", failure.message);

    // Whoever ran it hears that its lease is lost, whatever it says.
    let fence = Fence { attempt: 1, session_id: 4 };
    let settle = Settle::complete(None);
    for event in [
        Event::Heartbeat { fence, lease_ttl_ms: 9 },
        Event::Settle { fence, settle, digest: 1, exit_code: None, usage: None },
    ] {
        let lost = Refusal::LeaseLost { given: 1, in_force: 1 };
        assert_eq!(step(&after.task, &event), Err(lost));
    }
}

#[test]
fn an_owner_is_not_overtaken() {
    assert!(step(&pending().task, &overtake()).unwrap().ended.is_none());
    let cancelling = step(&running(), &Event::Cancel { message: String::new() }).unwrap().task;
    let paused = step(&pending().task, &Event::Pause).unwrap().task;
    let succeeded = step(&running(), &overtake()).unwrap().task;
    for task in [cancelling, paused, succeeded] {
        let refused = step(&task, &overtake());
        assert!(matches!(refused, Err(Refusal::IllegalState { .. })), "{refused:?}");
    }
    let unbound = step(&pending().task, &Event::Bind(Tie::Twinned));
    assert!(matches!(unbound, Err(Refusal::IllegalState { .. })), "only what runs gets a twin");
}

#[test]
fn all_that_is_wrong_with_the_settings_is_told() {
    let wrong = SpeculationInput {
        factor: Some(f64::NAN),
        min_sample: Some(201),
        max_percent: Some(-1),
        min_running_ms: Some(-5),
    };
    let given = |speculation| TaskTypeInput {
        name: "train".into(),
        speculation: Some(Some(speculation)),
        ..TaskTypeInput::default()
    };
    let told = format!("{:?}", task_type(&given(wrong)).unwrap_err());
    for field in ["factor", "min_sample", "max_percent", "min_running_time"] {
        assert!(told.contains(&format!("task_type.speculation.{field}")), "{told}");
    }
    let mut applied = TaskType::with_defaults(id(1).task_type().clone(), 0);
    let fine = given(SpeculationInput { factor: Some(1.5), ..SpeculationInput::default() });
    task_type(&fine).unwrap();
    fine.apply_to(&mut applied);
    let expected = Speculation { factor_permille: 1_500, ..Speculation::default() };
    assert_eq!(applied.speculation, Some(expected));
    TaskTypeInput { speculation: Some(None), ..fine }.apply_to(&mut applied);
    assert_eq!(applied.speculation, None);
}
