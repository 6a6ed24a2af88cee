//! Gathers what the checker judges: clients' calls as they are made, the tables in the end, and
//! processes and transactions that are left.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use asyncflow_core::{
    filter::Filter, id::TaskId, retry::RetryPolicy, state::TaskState, task::FullTask,
};
use asyncflow_proto::{time::duration_ms, v1};
use asyncflow_sdk::Error;
use asyncflow_store::{Parts, Store, testing::open_transactions};
use tonic::Code;

use crate::checker::{Attempt, Call, Kind, Mark, Process, Row, Told};

/// Rows of one look at the tables.
const PAGE: u32 = 500;
const ATTEMPTS_MAX: u32 = 10_000;
/// The variable by which a process of an attempt is known.
const TASK_VARIABLE: &[u8] = b"ASYNCFLOW_TASK_ID=";

/// So long no transaction of ours may stand open (invariant I18).
const TRANSACTION_MAX: Duration = Duration::from_secs(5);

/// Clients' calls, as they are made; a cheap clone.
#[derive(Clone, Default)]
pub struct Notebook(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    /// Goes on with every invocation and every return.
    now: u64,
    calls: Vec<Call>,
}

impl Notebook {
    /// Makes a call and writes down what was asked and told. A call that is given up in the middle
    /// is written down as one whose outcome nobody knows.
    pub async fn note(
        &self,
        client: usize,
        kind: Kind,
        call: impl Future<Output = Result<Option<v1::Task>, Error>>,
    ) -> Result<Option<v1::Task>, Error> {
        let is_read = matches!(kind, Kind::Read { .. });
        let at = {
            let mut notes = self.lock();
            notes.now += 1;
            let (invoked, message) = (notes.now, "given up".to_owned());
            let told = Told::Unknown { code: Code::Cancelled, message };
            notes.calls.push(Call { client, invoked, returned: u64::MAX, kind, told });
            notes.calls.len() - 1
        };
        let outcome = call.await;
        let told = match &outcome {
            Ok(task) => Told::Ok(task.as_ref().map(|task| Box::new(seen(task, is_read)))),
            Err(error) => not_told(error),
        };
        let mut notes = self.lock();
        notes.now += 1;
        notes.calls[at].returned = notes.now;
        notes.calls[at].told = told;
        outcome
    }

    /// All calls so far, in the order of their invocation.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nothing was done, or nobody knows.
fn not_told(error: &Error) -> Told {
    let message = error.to_string();
    if error.is_unreachable() {
        return Told::Unknown { code: Code::Unavailable, message };
    }
    match error.code() {
        code @ (Code::DeadlineExceeded | Code::Cancelled | Code::Unknown) => {
            Told::Unknown { code, message }
        }
        code => Told::Refused { code, message },
    }
}

/// A task as a client was told of it.
fn seen(task: &v1::Task, is_full: bool) -> Row {
    let mark = |content: &Option<v1::Content>| {
        content.as_ref().and_then(|content| Mark::of(&content.data))
    };
    let retry = task.retry.unwrap_or_default();
    let ms = |span: Option<_>| span.as_ref().and_then(duration_ms).unwrap_or_default();
    Row {
        id: task.id.clone(),
        request_id: task.name.clone(),
        state: state_of(task.state()),
        attempt: task.attempt,
        run: task.run,
        failures: task.failures,
        crashes: task.crashes,
        worker: task.worker_id.clone(),
        context_version: task.context_version,
        is_full,
        context: mark(&task.context),
        result: mark(&task.result),
        retry: RetryPolicy {
            max_retries: retry.max_retries,
            interval_ms: ms(retry.interval),
            max_interval_ms: ms(retry.max_interval),
        },
        max_crashes: None,
    }
}

fn state_of(told: v1::TaskState) -> TaskState {
    let name = told.as_str_name();
    let state = TaskState::ALL.into_iter().find(|state| name.ends_with(state.name()));
    state.unwrap_or_else(|| panic!("a task is {name}"))
}

/// A task as it stands in the tables.
fn kept(FullTask { task, body }: FullTask) -> Row {
    Row {
        id: task.id.to_string(),
        request_id: task.name,
        state: task.state,
        attempt: task.attempt,
        run: task.run,
        failures: task.failures,
        crashes: task.crashes,
        worker: task.holder.worker_id,
        context_version: task.context_version,
        is_full: true,
        context: Mark::of(&body.context.data),
        result: body.result.and_then(|result| Mark::of(&result.data)),
        retry: task.retry,
        max_crashes: Some(task.max_crashes),
    }
}

/// All tasks and their ended attempts, past brokers.
///
/// # Panics
/// When the database does not answer.
pub async fn tables(store: &Store) -> (Vec<Row>, Vec<Attempt>) {
    let (mut rows, mut attempts) = (Vec::new(), Vec::new());
    let mut after = None;
    loop {
        let page = store.list(&Filter::default(), after.as_ref(), PAGE, Parts::ALL).await;
        let page = page.unwrap_or_else(|error| panic!("the tables cannot be read: {error}"));
        for full in page.tasks {
            attempts.extend(attempts_of(store, &full.task.id).await);
            rows.push(kept(full));
        }
        after = page.next;
        if after.is_none() {
            return (rows, attempts);
        }
    }
}

async fn attempts_of(store: &Store, id: &TaskId) -> Vec<Attempt> {
    let ended = store.list_attempts(id, 0, ATTEMPTS_MAX).await;
    let ended = ended.unwrap_or_else(|error| panic!("no attempts of {id}: {error}"));
    let kept = |ended: asyncflow_core::task::Attempt| Attempt {
        task: id.to_string(),
        attempt: ended.attempt,
        run: ended.run,
        worker: ended.worker_id,
        outcome: ended.outcome,
        claim_ms: ended.claim_time_ms,
        end_ms: ended.end_time_ms,
    };
    ended.into_iter().map(kept).collect()
}

/// Transactions that have been open for longer than any may be.
///
/// # Panics
/// When the database does not answer.
pub async fn transactions(store: &Store) -> Vec<String> {
    let open = open_transactions(store, TRANSACTION_MAX).await;
    open.unwrap_or_else(|error| panic!("the database does not tell its transactions: {error}"))
}

/// Processes of attempts of these tasks, as their environment tells.
pub fn processes(rows: &[Row]) -> Vec<Process> {
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let found = folders.filter_map(|folder| {
        let pid = folder.file_name().to_str()?.parse().ok()?;
        let variables = std::fs::read(folder.path().join("environ")).ok()?;
        let of = |variable: &[u8]| variable.strip_prefix(TASK_VARIABLE).map(<[u8]>::to_vec);
        let task = variables.split(|byte| *byte == 0).find_map(of)?;
        let task = String::from_utf8(task).ok().filter(|task| ids.contains(task.as_str()))?;
        Some(Process { pid, task })
    });
    found.collect()
}
