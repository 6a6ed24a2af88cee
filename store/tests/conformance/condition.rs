//! Tasks that wait: for others, for signals, for what they have made themselves.

use asyncflow_core::{
    create::{NewTask, Predecessor},
    event::{Event, Settle, Until},
    id::TaskId,
    reason::FailureReason,
    retry::RetryPatch,
    state::TaskState,
    task::{Failure, FullTask, Task},
    transition::Refusal,
};
use asyncflow_store::{
    ApplyError, ClaimRequest, CreateWaitingError, DropOutcome, DropTerms, InsertError,
    InsertRefusal, SignalError, Store,
};

use super::{
    fault::{Stop, another, switch_off},
    fixture::{
        apply, claim, claim_request, complete, content, create, fail, fence, get, insert_all,
        insert_one, new_task, running, start, taker, type_name,
    },
    workflow_fixture::{create as create_workflow, task, workflow},
};
use serde_json::json;

fn after(name: &str, tasks: &[(&TaskId, bool)]) -> NewTask {
    let after = |&(id, any_end): &(&TaskId, bool)| Predecessor { id: id.clone(), any_end };
    NewTask { after: tasks.iter().map(after).collect(), ..new_task(name) }
}

async fn make(store: &Store, new: NewTask) -> Task {
    store.create_waiting(&create(new)).await.unwrap().task
}

async fn state(store: &Store, id: &TaskId) -> TaskState {
    get(store, id).await.task.state
}

/// Claims and starts whatever can run.
async fn run(store: &Store, want: u32) -> Vec<FullTask> {
    let leased = claim(store, 7, want).await.leased;
    let tasks: Vec<FullTask> = leased.into_iter().map(|leased| leased.task).collect();
    let starts = tasks.iter().map(|full| (full.task.id.clone(), start(&full.task)));
    store.apply(starts.collect()).await;
    tasks
}

pub fn wait(task: &Task, children: bool, signals: &[&str]) -> Event {
    wait_or_fail(task, children, signals, None)
}

/// The same; it fails of this if all of it is there.
pub fn wait_or_fail(
    task: &Task,
    children: bool,
    signals: &[&str],
    or_fail: Option<Failure>,
) -> Event {
    let signals = signals.iter().map(|name| (*name).to_owned()).collect();
    let until = Until { children, signals };
    let settle = Settle::Wait { until, message: String::new(), is_pending: false, or_fail };
    Event::Settle { fence: fence(task), settle, digest: 5, exit_code: None, usage: None }
}

pub async fn a_task_waits_for_others(store: Store) {
    let [good, bad] = [insert_one(&store).await, insert_one(&store).await];
    let both = [(&good.id, false), (&bad.id, true)];
    let waiting = make(&store, after("both", &both)).await;
    assert_eq!(waiting.state, TaskState::Blocked);
    let leased = run(&store, 9).await;
    assert_eq!(leased.len(), 2, "the one that waits is not handed out");
    let of = |id: &TaskId| &leased.iter().find(|full| full.task.id == *id).unwrap().task;

    let applied = apply(&store, &good.id, complete(of(&good.id), 1)).await.unwrap();
    assert!(applied.made.is_empty());
    assert_eq!(state(&store, &waiting.id).await, TaskState::Blocked, "it waits for another");
    let cancelled = Event::Cancel { message: "no".into() };
    apply(&store, &bad.id, cancelled).await.unwrap();
    let failed = Event::Settle {
        fence: fence(of(&bad.id)),
        settle: Settle::Fail {
            reason: FailureReason::Cancelled,
            message: String::new(),
            hint: asyncflow_core::event::RetryHint::Never,
        },
        digest: 1,
        exit_code: None,
        usage: None,
    };
    let applied = apply(&store, &bad.id, failed).await.unwrap();
    let ready: Vec<_> = applied.made.iter().map(|task| (&task.id, task.state)).collect();
    assert_eq!(ready, [(&waiting.id, TaskState::Pending)], "in the same transaction");

    assert_eq!(make(&store, after("done", &[(&good.id, false)])).await.state, TaskState::Pending);
    let in_vain = store.create_waiting(&create(after("vain", &[(&bad.id, false)]))).await;
    assert!(matches!(in_vain, Err(CreateWaitingError::InVain(_))), "{in_vain:?}");
    let unknown = TaskId { key: 1, ..good.id.clone() };
    let in_vain = store.create_waiting(&create(after("none", &[(&unknown, true)]))).await;
    assert!(matches!(in_vain, Err(CreateWaitingError::InVain(_))), "{in_vain:?}");
}

pub async fn who_waits_in_vain_fails(store: Store) {
    let first = insert_one(&store).await;
    let second = make(&store, after("second", &[(&first.id, false)])).await;
    let third = make(&store, after("third", &[(&second.id, false)])).await;
    let other = make(&store, after("other", &[(&second.id, true)])).await;
    let refused = store.delete(&first.id).await;
    assert!(matches!(refused, Err(ApplyError::Refused(..))), "{refused:?}");
    let paused = apply(&store, &second.id, Event::Pause).await.unwrap().task;
    assert_eq!(paused.state, TaskState::Paused);
    apply(&store, &first.id, Event::Cancel { message: "no".into() }).await.unwrap();
    for (id, by) in [(&second.id, &first.id), (&third.id, &second.id)] {
        let task = get(&store, id).await.task;
        let failure = task.failure.unwrap();
        assert_eq!((task.state, failure.reason), {
            (TaskState::Failed, FailureReason::DependencyFailed)
        });
        assert!(failure.message.contains(&by.to_string()), "{}", failure.message);
    }
    assert_eq!(state(&store, &other.id).await, TaskState::Pending, "any end will do");
    // A retry does not wait again.
    let retried = apply(&store, &third.id, Event::retry(false)).await.unwrap();
    assert_eq!(retried.task.state, TaskState::Pending);
}

pub async fn a_request_with_conditions_makes_one_task(store: Store) {
    let first = insert_one(&store).await;
    let new =
        || NewTask { request_id: Some("once".into()), ..after("second", &[(&first.id, false)]) };
    let made = store.create_waiting(&create(new())).await.unwrap();
    let again = store.create_waiting(&create(new())).await.unwrap();
    assert_eq!((again.task.id, again.deduplicated), (made.task.id, true));
    let other = NewTask { signals: vec!["go".into()], ..new() };
    let reused = store.create_waiting(&create(other)).await;
    let is_reused = |error: &InsertError| {
        matches!(error, InsertError::Refused(InsertRefusal::RequestIdReused { .. }))
    };
    assert!(matches!(&reused, Err(CreateWaitingError::Insert(e)) if is_reused(e)), "{reused:?}");
}

pub async fn signals_are_kept_if_they_come_early(store: Store) {
    let signals = vec!["go".to_owned(), "now".to_owned()];
    let waiting = make(&store, NewTask { signals, ..new_task("two") }).await;
    assert_eq!(waiting.state, TaskState::Blocked);
    let id = &waiting.id;
    let send = async |name: &str, text: &str| {
        store.signal_task(id, (name, &content(text)), "ann").await.map(|(task, _)| task.state)
    };
    assert_eq!(send("go", "1").await.unwrap(), TaskState::Blocked);
    assert_eq!(send("go", "2").await.unwrap(), TaskState::Blocked, "the first is kept");
    assert_eq!(send("later", "3").await.unwrap(), TaskState::Blocked);
    assert_eq!(send("now", "4").await.unwrap(), TaskState::Pending);
    let come = store.signals_of(&get(&store, id).await.task).await.unwrap();
    let come: Vec<_> =
        come.iter().map(|(name, content)| (name.as_str(), &content.data[..])).collect();
    assert_eq!(come, [("go", &b"1"[..]), ("later", b"3"), ("now", b"4")]);

    // What came early is there when it is waited for; what did not, is waited for.
    let full = run(&store, 1).await.remove(0);
    let ready = apply(&store, id, wait(&full.task, false, &["later"])).await.unwrap().task;
    assert_eq!(ready.state, TaskState::Pending);
    let full = run(&store, 1).await.remove(0);
    let blocked = apply(&store, id, wait(&full.task, true, &["later", "last"])).await.unwrap().task;
    assert_eq!(blocked.state, TaskState::Blocked);
    assert!(run(&store, 1).await.is_empty(), "its slot is free, and nobody takes it up");
    let replay = apply(&store, id, wait(&full.task, true, &["later", "last"])).await;
    assert!(matches!(replay, Err(ApplyError::Refused(Refusal::AlreadyDone, _))), "{replay:?}");
    assert_eq!(send("last", "5").await.unwrap(), TaskState::Pending);
    let full = run(&store, 1).await.remove(0);
    apply(&store, id, complete(&full.task, 9)).await.unwrap();
    let late = send("too-late", "6").await;
    assert!(matches!(late, Err(SignalError::TaskEnded(TaskState::Succeeded))), "{late:?}");
    let deleted = store.delete(id).await.unwrap();
    assert_eq!(store.signals_of(&deleted).await.unwrap(), []);
}

/// More wait than one transaction takes up; whoever should have taken up the rest is gone.
pub async fn many_who_wait_are_all_taken_up(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    switch_off(dir.path(), "workflow.carries_out");
    let dying = another(&store, dir.path()).await;
    let first = insert_one(&store).await;
    let mut waiting = Vec::new();
    for n in 0..520 {
        waiting.push(make(&store, after(&format!("{n}"), &[(&first.id, false)])).await.id);
    }
    let full = run(&store, 1).await.remove(0);
    let applied = apply(&dying, &first.id, complete(&full.task, 1)).await.unwrap();
    assert_eq!(applied.made.len(), 500);
    assert_eq!(store.tend_waits().await.unwrap(), 20);
    assert_eq!(store.tend_waits().await.unwrap(), 0);
    assert_eq!(run(&store, 1_000).await.len(), 520);
    dying.close().await;
}

/// A broker of an older version ends a task, and says nothing to those who wait for it.
pub async fn a_wait_that_nobody_ended_is_found(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    switch_off(dir.path(), "condition.marks");
    let older = another(&store, dir.path()).await;
    let first = insert_one(&store).await;
    let next = make(&store, after("next", &[(&first.id, false)])).await.id;
    let full = run(&store, 1).await.remove(0);
    apply(&older, &first.id, complete(&full.task, 1)).await.unwrap();
    assert_eq!(state(&store, &next).await, TaskState::Blocked);
    assert_eq!(store.tend_waits().await.unwrap(), 0);
    assert_eq!(store.tend_lost_waits("", 10).await.unwrap(), (1, None));
    assert_eq!(state(&store, &next).await, TaskState::Pending);
    older.close().await;
}

/// A retry does not go past what a task waited for when it was cancelled.
pub async fn who_was_cancelled_while_it_waited_waits_on(store: Store) {
    let cancel = || Event::Cancel { message: "no".into() };
    let again = async |id: &TaskId, from_start| {
        apply(&store, id, Event::retry(from_start)).await.unwrap().task.state
    };
    let first = running(&store, 7).await.task;
    let both = NewTask { signals: vec!["go".into()], ..after("both", &[(&first.id, false)]) };
    let id = make(&store, both).await.id;
    for from_start in [false, true] {
        apply(&store, &id, cancel()).await.unwrap();
        assert_eq!(again(&id, from_start).await, TaskState::Blocked);
    }
    store.signal_task(&id, ("go", &content("1")), "ann").await.unwrap();
    apply(&store, &id, cancel()).await.unwrap();
    apply(&store, &first.id, complete(&first, 1)).await.unwrap();
    assert_eq!(again(&id, false).await, TaskState::Pending, "it came while it was cancelled");
    apply(&store, &id, cancel()).await.unwrap();
    store.delete(&id).await.unwrap();

    // In the middle of its work: it goes on from there, or begins anew and asks again.
    let full = running(&store, 7).await.task;
    let (id, states) = (&full.id, [(false, TaskState::Blocked), (true, TaskState::Pending)]);
    apply(&store, id, wait(&full, false, &["later"])).await.unwrap();
    for (from_start, state) in states {
        apply(&store, id, cancel()).await.unwrap();
        assert_eq!(again(id, from_start).await, state);
    }
    assert_eq!(store.waits_of(id, 9).await.unwrap(), [""; 0]);
    apply(&store, id, cancel()).await.unwrap();
    store.delete(id).await.unwrap();

    let waiting = make(&store, NewTask { signals: vec!["go".into()], ..new_task("x") }).await.id;
    apply(&store, &waiting, cancel()).await.unwrap();
    store.delete(&waiting).await.unwrap();
    assert_eq!(store.waits_of(&waiting, 9).await.unwrap(), [""; 0], "nothing is left behind");
}

/// A retry that is refused forgets nothing of what its task waits for.
pub async fn a_refused_retry_leaves_the_wait(store: Store) {
    store.ensure_type(&type_name("work")).await.unwrap();
    create_workflow(&store, &workflow(json!(1), vec![task("a", "ok"), task("b", "ok")])).await;
    let leased = run(&store, 2).await;
    let [asks, other] = [&leased[0].task, &leased[1].task];
    apply(&store, &asks.id, wait(asks, false, &["go"])).await.unwrap();
    apply(&store, &other.id, fail(other, 1)).await.unwrap();
    assert_eq!(state(&store, &asks.id).await, TaskState::Cancelled, "with the whole");
    let refused = apply(&store, &asks.id, Event::retry(true)).await;
    assert!(matches!(refused, Err(ApplyError::Refused(Refusal::OfWorkflow(..), _))), "{refused:?}");
    assert_eq!(store.waits_of(&asks.id, 9).await.unwrap(), ["signal go"]);
}

/// A wait and a cancel of the same task in one transaction: nothing is left of the wait.
pub async fn a_wait_that_is_cancelled_at_once_is_forgotten(store: Store) {
    let full = running(&store, 7).await;
    let id = &full.task.id;
    let cancel = Event::Cancel { message: "no".into() };
    let both = vec![(id.clone(), wait(&full.task, false, &["go"])), (id.clone(), cancel)];
    assert!(store.apply(both).await.iter().all(Result::is_ok));
    assert_eq!(state(&store, id).await, TaskState::Cancelled);
    assert_eq!(store.waits_of(id, 9).await.unwrap(), [""; 0]);
    // Another run waits for the same.
    apply(&store, id, Event::retry(false)).await.unwrap();
    let full = run(&store, 1).await.remove(0);
    let stale = Event::Settle {
        fence: asyncflow_core::event::Fence { attempt: 1, ..fence(&full.task) },
        settle: Settle::Wait {
            until: Until { children: false, signals: vec!["other".into()] },
            message: String::new(),
            is_pending: false,
            or_fail: None,
        },
        digest: 77,
        exit_code: None,
        usage: None,
    };
    let both = vec![(id.clone(), wait(&full.task, false, &["go"])), (id.clone(), stale)];
    let answers = store.apply(both).await;
    assert!(answers[0].is_ok() && answers[1].is_err(), "{answers:?}");
    assert_eq!(store.waits_of(id, 9).await.unwrap(), ["signal go"], "not that of the stale one");
}

/// Whoever waits and whoever ends what is waited for do not miss each other.
pub async fn nobody_waits_for_what_has_come(store: Store) {
    let other = another(&store, std::path::Path::new("")).await;
    for round in 0..12 {
        let full = running(&store, 7).await;
        let id = full.task.id.clone();
        let next = create(after("next", &[(&id, false)]));
        let (ended, made) =
            tokio::join!(apply(&other, &id, complete(&full.task, 1)), store.create_waiting(&next),);
        ended.unwrap();
        let next = made.unwrap().task.id;
        assert_eq!(state(&store, &next).await, TaskState::Pending, "round {round}");
        let full = run(&store, 1).await.remove(0);
        let nothing = content("");
        let (waited, sent) = tokio::join!(
            apply(&store, &next, wait(&full.task, false, &["go"])),
            other.signal_task(&next, ("go", &nothing), "ann"),
        );
        waited.unwrap();
        sent.unwrap();
        assert_eq!(state(&store, &next).await, TaskState::Pending, "round {round}");
        let full = run(&store, 1).await.remove(0);
        apply(&store, &next, complete(&full.task, 2)).await.unwrap();
    }
    other.close().await;
}

pub async fn a_result_must_hold(store: Store) {
    let retry = RetryPatch { max_retries: Some(0), ..RetryPatch::default() };
    let success_if = "result == 'good'".to_owned();
    let with = || NewTask { success_if: success_if.clone(), retry, ..new_task("checked") };
    insert_all(&store, [with(), with()]).await;
    let ran = run(&store, 2).await;
    let end = |task: &Task, text: &str| {
        let settle = Settle::complete(Some(content(text)));
        Event::Settle { fence: fence(task), settle, digest: 1, exit_code: None, usage: None }
    };
    let (good, bad) = (&ran[0].task, &ran[1].task);
    apply(&store, &good.id, end(good, "good")).await.unwrap();
    apply(&store, &bad.id, end(bad, "bad")).await.unwrap();
    assert_eq!(state(&store, &good.id).await, TaskState::Succeeded);
    let full = get(&store, &bad.id).await;
    assert_eq!(full.task.state, TaskState::Failed);
    assert_eq!(full.task.failure.unwrap().reason, FailureReason::ResultRefused);
    assert_eq!(full.body.result, None);
}

/// Neither who knows the task nor who has to read it first holds anything meanwhile.
pub async fn a_result_is_looked_at_without_locks(store: Store) {
    for is_known in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let slow = another(&store, dir.path()).await;
        let with = NewTask { success_if: "result == 'good'".into(), ..new_task("checked") };
        let id = insert_all(&store, [with]).await.remove(0).id;
        let full = run(if is_known { &slow } else { &store }, 1).await.remove(0);
        let settle = Settle::complete(Some(content("good")));
        let event = Event::Settle {
            fence: fence(&full.task),
            settle,
            digest: 1,
            exit_code: None,
            usage: None,
        };
        let stop = Stop::at(dir.path(), "result.judged");
        let ending = tokio::spawn({
            let (slow, id) = (slow.clone(), id.clone());
            async move {
                let mut events = vec![(id, event)];
                slow.judge(&mut events).await;
                slow.apply(events).await.remove(0)
            }
        });
        stop.reached().await;
        let cancel = Event::Cancel { message: String::new() };
        let cancelled = apply(&store, &id, cancel).await.unwrap();
        assert_eq!(cancelled.task.state, TaskState::Cancelling);
        stop.release();
        let ended = ending.await.unwrap().unwrap();
        assert_eq!(ended.task.state, TaskState::Succeeded, "is known: {is_known}");
        slow.close().await;
    }
}

/// It came into a shard that was about to be dropped, which comes back because of it.
pub async fn who_waits_in_a_shard_that_comes_back_is_taken_up(store: Store) {
    let (work, other) = (type_name("work"), type_name("other"));
    insert_all(&store, [NewTask::new(other.clone(), "ann")]).await;
    let request = ClaimRequest { task_type: other, ..claim_request(vec![taker(7, "", 1)]) };
    let first = store.claim(&request).await.unwrap().leased.remove(0).task.task;
    apply(&store, &first.id, start(&first)).await.unwrap();
    store.open_shard(&work).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let late = another(&store, dir.path()).await;
    let placed = Stop::at(dir.path(), "waiting.placed");
    let making = tokio::spawn({
        let (late, next) = (late.clone(), create(after("next", &[(&first.id, false)])));
        async move { late.create_waiting(&next).await }
    });
    placed.reached().await;
    let fence = store.try_lead("g1", -1).await.unwrap().unwrap();
    store.roll_shard(&work, Some(&fence)).await.unwrap();
    let shard = store.drain_shards(Some(&work), &fence).await.unwrap().drained.remove(0);
    let begun = Stop::at(dir.path(), "drop.begun");
    let dropping = tokio::spawn({
        let (late, shard) = (late.clone(), shard.clone());
        let terms = DropTerms { before_ms: i64::MAX, archived: None };
        async move { late.drop_shard(&shard, terms, &fence).await }
    });
    begun.reached().await;
    placed.release();
    let next = making.await.unwrap().unwrap().task;
    assert_eq!((&next.id.shard, next.state), (&shard, TaskState::Blocked));
    apply(&store, &first.id, complete(&first, 1)).await.unwrap();
    begun.release();
    assert_eq!(dropping.await.unwrap().unwrap(), DropOutcome::Kept { live: true });
    assert_eq!(state(&store, &next.id).await, TaskState::Pending);
    late.close().await;
}
