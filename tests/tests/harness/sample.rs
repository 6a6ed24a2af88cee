//! A good history, written by hand, for the tests that spoil it.

use asyncflow_core::{retry::RetryPolicy, state::TaskState, task::AttemptOutcome};
use asyncflow_tests::checker::{
    Attempt, Call, Fault, History, Kind, Least, Log, Mark, Record, Row, Told, Verdict,
    read_records, verdict,
};

/// Succeeds at once.
pub const OK: usize = 0;
/// Loses its worker, `worker-0`, and goes on at `worker-1`.
pub const REDONE: usize = 1;
/// Fails, and succeeds the second time.
pub const FAILED_ONCE: usize = 2;
pub const SECRET: &str = "a-very-secret-word";

const IDS: [&str; 3] = ["work-1-0000000000001", "work-1-0000000000002", "work-1-0000000000003"];
const RECORDS: &str = "\
work-1-0000000000001 1 10 start 0:0
work-1-0000000000001 1 10 save 1:1
work-1-0000000000001 1 10 save 2:1
work-1-0000000000001 1 10 end 2:1
work-1-0000000000002 1 11 start 0:0
work-1-0000000000002 1 11 save 1:1
work-1-0000000000002 1 11 save 2:1
work-1-0000000000002 2 12 start 1:1
work-1-0000000000002 2 12 save 2:2
work-1-0000000000002 2 12 end 2:2
work-1-0000000000003 1 13 start 0:0
work-1-0000000000003 1 13 save 1:1
work-1-0000000000003 2 14 start 1:1
work-1-0000000000003 2 14 save 2:2
work-1-0000000000003 2 14 end 2:2
";

pub fn mark(text: &str) -> Mark {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

pub fn state(name: &str) -> TaskState {
    let found = TaskState::ALL.into_iter().find(|state| state.name() == name);
    found.unwrap_or_else(|| panic!("{name} is no state"))
}

/// A line of what programs write down.
pub fn record(line: usize, task: &str, attempt: i32, what: &str) -> Record {
    let read = read_records(&format!("{task} {attempt} 7 {what}"));
    let record = read.ok().and_then(|mut records| records.pop());
    Record { line, ..record.unwrap_or_else(|| panic!("{what}")) }
}

/// A task that nobody has run.
pub fn row(id: &str, request_id: &str, state: TaskState) -> Row {
    Row {
        id: id.to_owned(),
        request_id: request_id.to_owned(),
        state,
        attempt: 0,
        run: 0,
        failures: 0,
        crashes: 0,
        worker: String::new(),
        context_version: 0,
        is_full: true,
        context: None,
        result: None,
        retry: RetryPolicy { max_retries: 3, interval_ms: 50, max_interval_ms: 50 },
        max_crashes: Some(3),
    }
}

/// An acknowledged create, before anything else.
pub fn create(request_id: &str, id: &str) -> Call {
    let told = Told::Ok(Some(Box::new(row(id, request_id, TaskState::Pending))));
    let kind = Kind::Create { request_id: request_id.to_owned() };
    Call { client: 0, invoked: 1, returned: 2, kind, told }
}

/// Somebody sees the task so at this time.
pub fn read(row: &Row, at: u64) -> Call {
    let kind = Kind::Read { task: row.id.clone() };
    let told = Told::Ok(Some(Box::new(row.clone())));
    Call { client: 0, invoked: at, returned: at, kind, told }
}

fn succeeded(of: usize, attempt: i32, worker: &str) -> Row {
    let done = Mark { step: 2, attempt };
    Row {
        attempt,
        worker: worker.to_owned(),
        context_version: 2,
        context: Some(done),
        result: Some(done),
        ..row(IDS[of], &format!("r-{}", of + 1), TaskState::Succeeded)
    }
}

fn attempt(of: usize, attempt: i32, worker: &str, outcome: AttemptOutcome, at_ms: i64) -> Attempt {
    let (task, worker) = (IDS[of].to_owned(), worker.to_owned());
    Attempt { task, attempt, run: 0, worker, outcome, claim_ms: at_ms, end_ms: at_ms + 100 }
}

pub fn good() -> History {
    let rows = vec![
        succeeded(OK, 1, "worker-0"),
        Row { crashes: 1, ..succeeded(REDONE, 2, "worker-1") },
        Row { failures: 1, ..succeeded(FAILED_ONCE, 2, "worker-1") },
    ];
    let mut calls: Vec<Call> = rows.iter().map(|row| create(&row.request_id, &row.id)).collect();
    let running = Row {
        attempt: 1,
        worker: "worker-0".to_owned(),
        context_version: 1,
        context: Some(mark("1:1")),
        ..row(IDS[REDONE], "r-2", TaskState::Running)
    };
    calls.push(read(&running, 30));
    calls.extend(rows.iter().map(|row| read(row, 80)));
    let attempts = vec![
        attempt(OK, 1, "worker-0", AttemptOutcome::Succeeded, 100),
        attempt(REDONE, 1, "worker-0", AttemptOutcome::Lost, 100),
        attempt(REDONE, 2, "worker-1", AttemptOutcome::Succeeded, 300),
        attempt(FAILED_ONCE, 1, "worker-1", AttemptOutcome::Failed, 100),
        attempt(FAILED_ONCE, 2, "worker-1", AttemptOutcome::Succeeded, 250),
    ];
    let workers = vec!["worker-0".to_owned()];
    let faults = vec![Fault { what: "kill".to_owned(), workers, from_ms: 150, to_ms: 160 }];
    History {
        calls,
        rows,
        attempts,
        records: read_records(RECORDS).unwrap_or_default(),
        logs: vec![Log { process: "broker-0".to_owned(), text: "ready\n".to_owned() }],
        faults,
        left_over: Vec::new(),
        open_transactions: Vec::new(),
        secrets: vec![SECRET.to_owned()],
    }
}

const LEAST: Least = Least { operations: 3, faults: 1 };

/// The history is good.
pub fn passes(history: &History) {
    let found = verdict(history, LEAST);
    assert!(matches!(found, Verdict::Passed(_)), "{found:?}");
}

/// The good history, spoilt in this way, violates these invariants and no other, and one of the
/// messages says this.
pub fn caught(invariants: &[&str], message: &str, spoil: impl FnOnce(&mut History)) {
    let mut history = good();
    spoil(&mut history);
    let Verdict::Violated(found) = verdict(&history, LEAST) else {
        panic!("nothing was found");
    };
    let mut violated: Vec<&str> = found.iter().map(|violation| violation.invariant).collect();
    violated.dedup();
    assert_eq!(violated, invariants, "{found:#?}");
    assert!(found.iter().any(|violation| violation.to_string().contains(message)), "{found:#?}");
}

#[test]
fn a_good_history_passes_and_is_counted() {
    let Verdict::Passed(counts) = verdict(&good(), LEAST) else {
        panic!("{:?}", verdict(&good(), LEAST));
    };
    assert_eq!(
        counts.to_string(),
        "7 operations (7 acknowledged, 0 refused, 0 unknown), 3 tasks, 5 attempts \
         (1 interrupted), 15 records, 1 faults"
    );
}

#[test]
fn of_too_few_operations_or_faults_nothing_is_known() {
    let found = verdict(&good(), Least { operations: 8, faults: 1 });
    let Verdict::Unknown { why, .. } = found else { panic!("{found:?}") };
    assert_eq!(why, "7 operations, and it takes 8");
    let found = verdict(&good(), Least { operations: 3, faults: 2 });
    let Verdict::Unknown { why, .. } = found else { panic!("{found:?}") };
    assert_eq!(why, "1 faults, and it takes 2");
}
