//! Bad inputs, row by row: each gets a violation of the field that is wrong, with what is allowed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, sync::Arc};

use asyncflow_core::{
    command::{COMMAND_CONTENT_TYPE, CodeSnapshot, Command, Container},
    id::TypeName,
    limits::{BATCH_TASKS_MAX, DURATION_MS_MAX, NOT_BEFORE_AHEAD_MS_MAX, PAYLOAD_BYTES_MAX},
    resources::Resources,
    retry::RetryPatch,
    task::{Content, Progress},
    task_type::TaskType,
    validate::{
        at::At,
        list,
        new_task::{NewTaskInput, new_task, new_tasks},
        patch::{TASK_PATHS, TaskPatchInput, mask, task_patch},
        resources::ResourcesInput,
        task_type::{TaskTypeInput, task_type},
        time, work,
    },
    violation::{Violation, Violations},
};
use proptest::prelude::*;

const NOW_MS: i64 = 1_767_225_600_000;

fn good() -> NewTaskInput {
    NewTaskInput { task_type: "train".into(), user: "alice".into(), ..NewTaskInput::default() }
}

fn violations_of(input: NewTaskInput) -> Vec<Violation> {
    let mut violations = Violations::new();
    new_task(input, At::REQUEST, NOW_MS, &mut violations);
    violations.into_list()
}

/// A change of a good request, and the field that it makes bad.
type Case = (&'static str, fn(&mut NewTaskInput));

fn content(bytes: usize, content_type: &str) -> Content {
    Content { data: vec![0; bytes].into(), content_type: content_type.into() }
}

fn command(change: fn(&mut Command)) -> Option<Command> {
    let mut command = Command { program: "python3".into(), ..Command::default() };
    change(&mut command);
    Some(command)
}

fn contained(image: &str, volumes: &[&str]) -> Option<Command> {
    let volumes = volumes.iter().map(|volume| (*volume).to_owned()).collect();
    let container = Some(Container { image: image.into(), volumes });
    Some(Command { program: "python3".into(), container, ..Command::default() })
}

fn coded(change: fn(&mut CodeSnapshot)) -> Option<Command> {
    let mut code = CodeSnapshot {
        directory: "/home/a".into(),
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        ..CodeSnapshot::default()
    };
    change(&mut code);
    Some(Command { program: "python3".into(), code: Some(code), ..Command::default() })
}

const CASES: &[Case] = &[
    ("task.task_type", |t| t.task_type = String::new()),
    ("task.task_type", |t| t.task_type = "../etc".into()),
    ("task.task_type", |t| t.task_type = "a'b".into()),
    ("task.task_type", |t| t.task_type = "a b".into()),
    ("task.task_type", |t| t.task_type = "a-b".into()),
    ("task.task_type", |t| t.task_type = "a".repeat(300)),
    ("task.user", |t| t.user = " ".into()),
    ("task.user", |t| t.user = "a".repeat(65)),
    ("task.name", |t| t.name = "a\0b".into()),
    ("task.name", |t| t.name = "é".repeat(65)),
    ("task.priority", |t| t.priority = Some(1_001)),
    ("task.priority", |t| t.priority = Some(i32::MIN)),
    ("task.retry.max_retries", |t| t.retry.max_retries = Some(-1)),
    ("task.retry.max_retries", |t| t.retry.max_retries = Some(1_001)),
    ("task.retry.interval", |t| t.retry.interval_ms = Some(0)),
    ("task.retry.interval", |t| t.retry.interval_ms = Some(-5)),
    ("task.retry.max_interval", |t| t.retry.max_interval_ms = Some(DURATION_MS_MAX + 1)),
    ("task.retry.max_interval", |t| {
        t.retry = RetryPatch { max_retries: None, interval_ms: Some(10), max_interval_ms: Some(9) };
    }),
    ("task.max_running_time", |t| t.max_running_ms = Some(0)),
    ("task.max_running_time", |t| t.max_running_ms = Some(i64::MIN)),
    ("task.max_running_time", |t| t.max_running_ms = Some(i64::MAX)),
    ("task.not_before", |t| t.not_before_ms = Some(-1)),
    ("task.not_before", |t| t.not_before_ms = Some(NOW_MS + NOT_BEFORE_AHEAD_MS_MAX + 1)),
    ("task.not_before", |t| t.not_before_ms = Some(i64::MAX)),
    ("task.payload.data", |t| t.payload = content(PAYLOAD_BYTES_MAX + 1, "")),
    ("task.payload.content_type", |t| t.payload = content(1, &"a".repeat(129))),
    ("task.payload.content_type", |t| t.payload = content(1, COMMAND_CONTENT_TYPE)),
    ("task.payload", |t| {
        t.payload = content(1, "");
        t.command = command(|_| {});
    }),
    ("task.context.data", |t| t.context = content(1_048_577, "")),
    ("task.labels", |t| t.labels = (0..10_000).map(|i| (format!("k{i}"), "".into())).collect()),
    ("task.labels[0].key", |t| t.labels = BTreeMap::from([("Project".into(), "x".into())])),
    ("task.labels[0].key", |t| t.labels = BTreeMap::from([("".into(), "x".into())])),
    ("task.labels[1].value", |t| {
        t.labels = [("a".into(), "x".into()), ("b".into(), "x".repeat(1_000_000))].into();
    }),
    ("task.labels[0].value", |t| t.labels = [("a".into(), "\u{7f}".into())].into()),
    ("task.command.program", |t| t.command = command(|c| c.program.clear())),
    ("task.command.program", |t| t.command = command(|c| c.program = "a\0".into())),
    ("task.command.args[1]", |t| {
        t.command = command(|c| c.args = vec!["a".into(), "b\0".into()]);
    }),
    ("task.command.args", |t| t.command = command(|c| c.args = vec![String::new(); 1_001])),
    ("task.command.working_directory", |t| {
        t.command = command(|c| c.working_directory = "tmp".into());
    }),
    ("task.command.environment[0].key", |t| {
        t.command = command(|c| c.environment = [("A=B".into(), "".into())].into());
    }),
    ("task.command.python_environment", |t| {
        t.command = command(|c| c.python_environment = "a/b".into());
    }),
    ("task.command.python_environment", |t| {
        t.command = command(|c| c.python_environment = "/a:/b".into());
    }),
    ("task.command.python_environment", |t| {
        t.command = command(|c| {
            c.python_environment = "torch".into();
            c.container = Some(Container { image: "a".into(), volumes: vec![] });
        });
    }),
    ("task.command.container.image", |t| t.command = contained("", &[])),
    ("task.command.container.image", |t| t.command = contained("--privileged", &[])),
    ("task.command.container.volumes[1]", |t| t.command = contained("a", &["/a:/b:ro", "a:/b"])),
    ("task.command.container.volumes[0]", |t| t.command = contained("a", &["/a:/b:z"])),
    ("task.command.container.volumes", |t| t.command = contained("a", &["/a:/b"; 65])),
    ("task.command.code.directory", |t| t.command = coded(|c| c.directory = "a".into())),
    ("task.command.code.commit", |t| t.command = coded(|c| c.commit = "HEAD".into())),
    ("task.command.code.diff_sha256", |t| t.command = coded(|c| c.diff_sha256 = "1".into())),
    ("task.command", |t| t.command = coded(|c| c.diff = "x".repeat(64 * 1_024))),
    ("task.command", |t| t.command = command(|c| c.args = vec!["x".repeat(30_000); 3])),
    ("request_id", |t| t.request_id = Some("".into())),
    ("request_id", |t| t.request_id = Some("\t".into())),
    ("request_id", |t| t.request_id = Some("a".repeat(129))),
    ("request_id", |t| t.request_id = Some("a\u{1b}[2J".into())),
];

#[test]
fn each_bad_field_is_named_and_no_other() {
    assert_eq!(violations_of(good()), []);
    for (index, (field, spoil)) in CASES.iter().enumerate() {
        let mut input = good();
        spoil(&mut input);
        let violations = violations_of(input);
        assert_eq!(violations.len(), 1, "case {index} ({field}): {violations:?}");
        assert_eq!(&violations[0].field, field, "case {index}");
        let description = &violations[0].description;
        assert!((10..300).contains(&description.len()), "{description}");
        assert!(!description.contains('\0'), "{description:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut input = good();
    input.task_type = "Train".into();
    input.priority = Some(-9_999);
    input.max_running_ms = Some(0);
    input.labels = [("A".into(), "x".into()), ("b".into(), "\n".into())].into();
    let fields: Vec<String> = violations_of(input).into_iter().map(|v| v.field).collect();
    let expected = [
        "task.task_type",
        "task.priority",
        "task.labels[0].key",
        "task.labels[1].value",
        "task.max_running_time",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn one_bad_item_refuses_the_batch() {
    let mut batch = vec![good(); 5];
    batch[3].task_type = "NO".into();
    batch[1].request_id = Some("r".into());
    batch[4].request_id = Some("r".into());
    let fields: Vec<String> = new_tasks(batch, NOW_MS)
        .unwrap_err()
        .into_list()
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    assert_eq!(fields, ["requests[4].request_id", "requests[3].task.task_type"]);
    assert_eq!(new_tasks(vec![good(); 5], NOW_MS).unwrap().len(), 5);
    assert!(new_tasks(vec![], NOW_MS).is_err());
    assert!(new_tasks(vec![good(); BATCH_TASKS_MAX + 1], NOW_MS).is_err());
}

#[test]
fn the_context_is_bounded_by_the_type() {
    let mut input = good();
    input.context = content(8_193, "");
    let mut violations = Violations::new();
    let task = new_task(input, At::REQUEST, NOW_MS, &mut violations).unwrap();
    assert!(violations.is_empty());
    let defaults = TaskType::with_defaults(TypeName::new("train").unwrap(), NOW_MS);
    task.check_against(&defaults, At::REQUEST.field("task"), &mut violations);
    assert_eq!(violations.into_list()[0].field, "task.context.data");
}

#[test]
fn what_a_task_says_of_gpus_is_said_of_its_own_or_of_those_of_its_type() {
    let terms = ResourcesInput {
        gpu_model: "A100".into(),
        gpu_memory_min_bytes: 1 << 30,
        gpu_idle_ms: Some(60_000),
        ..ResourcesInput::default()
    };
    let wrong = |needs: &ResourcesInput, of_type: Option<Resources>| -> Vec<String> {
        let input = NewTaskInput { resources: Some(needs.clone()), ..good() };
        let mut violations = Violations::new();
        let task = new_task(input, At::REQUEST, NOW_MS, &mut violations).unwrap();
        assert!(violations.is_empty());
        let mut train = TaskType::with_defaults(TypeName::new("train").unwrap(), NOW_MS);
        train.resources = of_type.map(Arc::new);
        task.check_against(&train, At::REQUEST.field("task"), &mut violations);
        let list = violations.into_list().into_iter();
        list.map(|wrong| format!("{}: {}", wrong.field, wrong.description)).collect()
    };
    let told = wrong(&terms, None);
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(
        told[0],
        "task.resources.gpu_model: \"A100\" does nothing, because no GPUs are asked for, neither \
         here nor by the type train; give gpus or gpu_memory_bytes too, or leave this out"
    );
    assert!(told[1].starts_with("task.resources.gpu_memory_min_bytes: 1073741824 bytes does"));
    assert!(told[2].starts_with("task.resources.gpu_idle_timeout: 60000 ms does"));
    assert!(wrong(&ResourcesInput { gpus: 1, ..terms.clone() }, None).is_empty());
    assert!(wrong(&ResourcesInput { gpu_memory_bytes: 1, ..terms.clone() }, None).is_empty());
    assert!(wrong(&terms, Some(Resources { gpus: 2, ..Resources::default() })).is_empty());
    // What an older type says is no fault of its tasks.
    let older = Resources { gpu_model: "A100".into(), ..Resources::default() };
    assert!(wrong(&ResourcesInput::default(), Some(older)).is_empty());
}

#[test]
fn patches_and_masks_are_checked() {
    let patch = TaskPatchInput {
        name: Some("\0".into()),
        max_running_ms: Some(Some(0)),
        etag: "W/1".into(),
        ..TaskPatchInput::default()
    };
    let fields: Vec<String> =
        task_patch(patch, NOW_MS).unwrap_err().into_list().into_iter().map(|v| v.field).collect();
    assert_eq!(fields, ["task.name", "task.max_running_time", "etag"]);
    let cleared = TaskPatchInput { max_running_ms: Some(None), ..TaskPatchInput::default() };
    assert_eq!(task_patch(cleared, NOW_MS).unwrap().max_running_ms, Some(0));

    let mut violations = Violations::new();
    mask(["name", "state", "retry.interval"], &TASK_PATHS, &mut violations);
    mask([], &TASK_PATHS, &mut violations);
    let list = violations.into_list();
    assert_eq!(list.len(), 2);
    assert!(list[0].description.contains("\"state\" cannot be updated; one of name, priority"));
}

#[test]
fn task_types_are_checked_and_applied() {
    let bad = TaskTypeInput {
        name: "x y".into(),
        schedule_limit: Some(0),
        max_crashes: Some(-1),
        max_context_bytes: Some(1_048_577),
        shard_max_rows: Some(999),
        retention_ms: Some(Some(-1)),
        ..TaskTypeInput::default()
    };
    assert_eq!(task_type(&bad).unwrap_err().count(), 6);
    let input = TaskTypeInput {
        name: "train".into(),
        retention_ms: Some(Some(1_000)),
        retry: RetryPatch { interval_ms: Some(999_999), ..RetryPatch::default() },
        ..TaskTypeInput::default()
    };
    let mut stored = TaskType::with_defaults(task_type(&input).unwrap(), NOW_MS);
    input.apply_to(&mut stored);
    assert_eq!((stored.retention_ms, stored.schedule_limit), (1_000, 100));
    assert_eq!((stored.retry.interval_ms, stored.retry.max_interval_ms), (999_999, 999_999));
}

#[test]
fn workers_are_checked_too() {
    for max_tasks in [0, -1, 100_000] {
        let refused = work::acquire("a1", max_tasks, &[]).unwrap_err().into_list();
        assert_eq!(refused[0].field, "max_tasks");
    }
    assert!(work::acquire("a1", 10, &["train".into()]).is_ok());
    for percent in [f64::NAN, -1.0, 101.0, f64::INFINITY] {
        let mut violations = Violations::new();
        let progress = Progress { percent: Some(percent), ..Progress::default() };
        work::progress(&progress, At::REQUEST.field("progress"), &mut violations);
        assert_eq!(violations.into_list()[0].field, "progress.percent");
    }
    let all = work::RegistrationInput {
        worker_id: "gpu-1".into(),
        incarnation: "b00t".into(),
        task_types: vec!["*".into()],
        slots: 4,
        ..work::RegistrationInput::default()
    };
    assert_eq!(work::registration(&all).unwrap(), work::WorkerTypes::All);
    let bad = work::RegistrationInput { worker_id: "a/b".into(), slots: 0, ..all };
    assert_eq!(work::registration(&bad).unwrap_err().count(), 2);
    assert!(work::saved_context(Some("s"), Some(&content(8_193, "")), 8_192).is_err());
}

#[test]
fn pages_waits_and_times_on_the_wire() {
    let mut violations = Violations::new();
    assert_eq!(list::page_size(0, &mut violations), 50);
    assert_eq!(list::page_size(1_000_000, &mut violations), 1_000);
    assert!(violations.is_empty());
    list::page_size(-1, &mut violations);
    let at = At::REQUEST.field("wait");
    assert_eq!(time::duration_parts_ms(1, 500_999_999, at, &mut violations), Some(1_500));
    assert_eq!(time::duration_parts_ms(i64::MAX, 0, at, &mut violations), Some(i64::MAX));
    assert_eq!(time::duration_parts_ms(1, 1_000_000_000, at, &mut violations), None);
    assert_eq!(time::duration_parts_ms(1, -1, at, &mut violations), None);
    assert_eq!(time::timestamp_parts_ms(-1, 999_000_000, at, &mut violations), Some(-1));
    assert_eq!(time::timestamp_parts_ms(0, -1, at, &mut violations), None);
    assert_eq!(violations.count(), 4);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_answer_at_length(text in "\\PC{0,300}", other in any::<String>()) {
        let mut input = good();
        input.task_type.clone_from(&text);
        input.user.clone_from(&other);
        input.name.clone_from(&text);
        input.labels = [(text.clone(), other.clone())].into();
        input.request_id = Some(other);
        for violation in violations_of(input) {
            prop_assert!(violation.description.len() < 600);
            prop_assert!(!violation.description.contains('\0'));
        }
    }
}
