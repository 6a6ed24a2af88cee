//! The worker runtime against a fake broker.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[allow(dead_code, reason = "shared with the worker's tests")]
mod fake;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use asyncflow_sdk::{
    ChannelOptions,
    v1::{Content, FailureReason, LeasedTask, Task, TaskSpec, WaitFor},
    worker::{AttemptHandle, Handler, HandlerError, Outcome, WorkerBuilder, WorkerOptions},
};
use fake::{FakeBroker, Settled, handler_task};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Does what its payload says.
#[derive(Clone, Default)]
struct Obedient {
    running: Arc<AtomicUsize>,
    most_running: Arc<AtomicUsize>,
    finished: Arc<AtomicUsize>,
    cut_off: Arc<AtomicUsize>,
}

/// Counts the end of a handler, also when its future is dropped.
struct OneLess(Arc<AtomicUsize>);

impl Drop for OneLess {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl Handler for Obedient {
    type Context = String;

    async fn load_context(&self, task: &LeasedTask) -> Result<String, HandlerError> {
        let payload = task.task.as_ref().and_then(|task| task.payload.clone()).unwrap_or_default();
        match String::from_utf8(payload.data.to_vec()) {
            Ok(text) if text != "garbage" => Ok(text),
            _ => Err(HandlerError::bad_context("cannot be parsed")),
        }
    }

    async fn process(
        &self,
        attempt: &mut AttemptHandle,
        order: String,
    ) -> Result<Option<Content>, HandlerError> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _ended = OneLess(self.running.clone());
        self.most_running.fetch_max(running, Ordering::SeqCst);
        match order.as_str() {
            "panic" => panic!("as ordered"),
            "fail" => Err(HandlerError::retryable("as ordered")),
            "give up" => Err(HandlerError::permanent("as ordered")),
            "large" => Ok(Some(Content { data: vec![0; 70_000].into(), ..Content::default() })),
            "sense" => {
                while !attempt.stop_signal().is_cut_off() {
                    tokio::task::yield_now().await;
                }
                self.cut_off.fetch_add(1, Ordering::SeqCst);
                while attempt.stop_signal().is_cut_off() {
                    tokio::task::yield_now().await;
                }
                Ok(None)
            }
            "split" if attempt.task().attempt < 2 => {
                let child = |name: &str| TaskSpec { name: name.into(), ..TaskSpec::default() };
                let children = ["a", "b", "c"].map(child).into();
                let made = attempt.create_children("parts", children).await?;
                assert_eq!(made.id, "wf-1");
                Err(HandlerError::wait_for_children())
            }
            "split" => {
                let made = attempt.children("parts").await?;
                let results = made.into_iter().filter_map(|child| child.task?.result);
                let data: Vec<u8> = results.flat_map(|result| result.data.to_vec()).collect();
                Ok(Some(Content { data: data.into(), ..Content::default() }))
            }
            "give away" => {
                let context = Content { data: "100000".into(), ..Content::default() };
                Err(HandlerError::hand_over(Some(context), "the disk is full"))
            }
            "give away as it is" => Err(HandlerError::hand_over(None, "")),
            "wait for nothing" => Err(HandlerError::wait_for(WaitFor::default())),
            "wait" => {
                attempt.cancelled().await;
                Err(HandlerError::stopped())
            }
            _ => {
                attempt.save_context(Some("half"), None).await?;
                attempt.progress(50.0, "half");
                attempt.log("hello").await;
                Ok(Some(Content { data: order.into(), ..Content::default() }))
            }
        }
    }

    async fn finish(&self, _task: &LeasedTask, _outcome: &Outcome) {
        self.finished.fetch_add(1, Ordering::SeqCst);
    }
}

struct Running {
    handler: Obedient,
    drain: CancellationToken,
    ended: JoinHandle<Result<(), asyncflow_sdk::Error>>,
}

fn start(broker: &FakeBroker, slots: usize) -> Running {
    let mut options = WorkerOptions::new(vec![ChannelOptions::new(broker.url())], "w1");
    options.slots = slots;
    options.drain_timeout = std::time::Duration::from_millis(100);
    let handler = Obedient::default();
    let drain = CancellationToken::new();
    let worker = WorkerBuilder::new(options).handler("obey", handler.clone());
    let ended = tokio::spawn(worker.run(drain.clone(), CancellationToken::new()));
    Running { handler, drain, ended }
}

fn failure(settled: Settled) -> (FailureReason, bool, String) {
    let Settled::Failed(call) = settled else { panic!("not failed: {settled:?}") };
    let failure = call.failure.unwrap();
    (failure.reason(), call.permanent, failure.message)
}

#[tokio::test]
async fn a_handler_saves_reports_logs_and_returns() {
    let broker = FakeBroker::start().await;
    let worker = start(&broker, 2);
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736".to_owned();
    let task = handler_task("obey-1-a", "obey", b"echo");
    broker.add(Task { trace_id: trace_id.clone(), ..task });
    let Settled::Completed(call) = broker.settled("obey-1-a").await else {
        panic!("not completed")
    };
    assert_eq!(&call.result.unwrap().data[..], b"echo");
    {
        let state = broker.state();
        assert!(state.started.contains("obey-1-a"));
        assert_eq!(state.contexts[0].stage.as_deref(), Some("half"));
        assert_eq!(state.progress["obey-1-a"].percent, Some(50.0));
        assert_eq!(state.logs[&("obey-1-a".to_owned(), 1)], b"hello\n");
        let traced = ["complete", "logs", "save"].map(|call| (call, trace_id.clone()));
        assert_eq!(state.traces, traced.into());
        assert_eq!(state.registrations[0].task_types, ["obey"]);
    }
    worker.drain.cancel();
    worker.ended.await.unwrap().unwrap();
    assert_eq!(worker.handler.finished.load(Ordering::SeqCst), 1);
    assert!(broker.state().deregistered);
}

#[tokio::test]
async fn every_way_to_fail_has_its_reason() {
    let broker = FakeBroker::start().await;
    let _worker = start(&broker, 8);
    for (id, task_type, order) in [
        ("obey-1-panic", "obey", &b"panic"[..]),
        ("obey-1-fail", "obey", b"fail"),
        ("obey-1-giveup", "obey", b"give up"),
        ("obey-1-garbage", "obey", b"garbage"),
        ("obey-1-large", "obey", b"large"),
        ("other-1-x", "other", b""),
    ] {
        broker.add(handler_task(id, task_type, order));
    }
    let (reason, permanent, message) = failure(broker.settled("obey-1-panic").await);
    assert_eq!((reason, permanent), (FailureReason::Error, false));
    assert!(message.contains("as ordered"), "{message}");
    for (id, expected) in [
        ("obey-1-fail", (FailureReason::Error, false)),
        ("obey-1-giveup", (FailureReason::Permanent, true)),
        ("obey-1-garbage", (FailureReason::BadContext, true)),
        ("obey-1-large", (FailureReason::ResultTooLarge, true)),
        ("other-1-x", (FailureReason::NoHandler, false)),
    ] {
        let (reason, permanent, _) = failure(broker.settled(id).await);
        assert_eq!((reason, permanent), expected, "{id}");
    }
}

#[tokio::test]
async fn a_handler_makes_tasks_and_goes_on_with_their_results() {
    let broker = FakeBroker::start().await;
    let _worker = start(&broker, 1);
    broker.add(handler_task("obey-1-a", "obey", b"split"));
    let Settled::Released(call) = broker.settled("obey-1-a").await else { panic!("not released") };
    assert_eq!(call.wait_for, Some(WaitFor { children: true, signals: Vec::new() }));
    assert_eq!(call.failure, None);
    broker.state().settled.clear();
    broker.add(Task { attempt: 2, ..handler_task("obey-1-a", "obey", b"split") });
    let Settled::Completed(call) = broker.settled("obey-1-a").await else { panic!("not done") };
    assert_eq!(&call.result.unwrap().data[..], b"abc", "page by page");

    broker.add(handler_task("obey-1-b", "obey", b"wait for nothing"));
    let (reason, permanent, _) = failure(broker.settled("obey-1-b").await);
    assert_eq!((reason, permanent), (FailureReason::Permanent, true), "a broker would refuse it");
}

#[tokio::test]
async fn a_handler_gives_its_task_away_with_a_context() {
    let broker = FakeBroker::start().await;
    let _worker = start(&broker, 1);
    broker.add(handler_task("obey-1-a", "obey", b"give away"));
    let settled = broker.settled("obey-1-a").await;
    let Settled::Released(call) = settled else { panic!("not released: {settled:?}") };
    assert_eq!(call.context.unwrap().data, "100000");
    assert!(call.elsewhere && call.delay.is_none());
    let failure = call.failure.unwrap();
    assert_eq!(failure.reason(), FailureReason::HandedOver);
    assert_eq!(failure.message, "the disk is full");

    broker.add(handler_task("obey-1-b", "obey", b"give away as it is"));
    let settled = broker.settled("obey-1-b").await;
    let Settled::Released(call) = settled else { panic!("not released: {settled:?}") };
    assert!(call.elsewhere && call.context.is_none());
    assert!(call.delay.is_some(), "or it would wander about without a pause");
}

#[tokio::test]
async fn a_cancel_stops_the_handler_and_is_confirmed() {
    let broker = FakeBroker::start().await;
    let _worker = start(&broker, 1);
    broker.add(handler_task("obey-1-a", "obey", b"wait"));
    broker.until("the start", |state| state.started.contains("obey-1-a").then_some(())).await;
    broker.cancel("obey-1-a");
    let (reason, ..) = failure(broker.settled("obey-1-a").await);
    assert_eq!(reason, FailureReason::Cancelled);
}

#[tokio::test]
async fn a_lost_answer_loses_no_task_and_slots_are_never_exceeded() {
    let broker = FakeBroker::start().await;
    broker.change(|state| state.acquire_answers_lost = 2);
    for number in 0..30 {
        broker.add(handler_task(&format!("obey-1-{number}"), "obey", b"echo"));
    }
    let worker = start(&broker, 3);
    broker.until("all", |state| (state.history.len() == 30).then_some(())).await;
    assert_eq!(broker.state().settled.len(), 30, "each task ends once");
    assert!(worker.handler.most_running.load(Ordering::SeqCst) <= 3);
    assert!(broker.state().acquires.iter().all(|acquire| acquire.max_tasks <= 3));
}

/// The broker counts the task as running, so nobody else would get it before its lease runs out.
#[tokio::test]
async fn a_start_whose_answer_is_lost_for_long_is_repeated() {
    let broker = FakeBroker::start().await;
    broker.change(|state| state.start_answers_are_lost = true);
    let _worker = start(&broker, 1);
    broker.add(handler_task("obey-1-a", "obey", b"echo"));
    broker.until("the start", |state| state.started.contains("obey-1-a").then_some(())).await;
    // Longer than the time for which a task is handed out.
    let beats = broker.state().heartbeats;
    broker.until("heartbeats", |state| (state.heartbeats > beats + 2).then_some(())).await;
    broker.change(|state| state.start_answers_are_lost = false);
    assert!(matches!(broker.settled("obey-1-a").await, Settled::Completed(_)));
}

#[tokio::test]
async fn a_forgotten_session_is_opened_again_and_keeps_what_runs() {
    let broker = FakeBroker::start().await;
    let _worker = start(&broker, 2);
    broker.add(handler_task("obey-1-a", "obey", b"wait"));
    broker.until("the start", |state| state.started.contains("obey-1-a").then_some(())).await;
    broker.change(|state| state.sessions.clear());
    let again = broker.until("again", |state| state.registrations.get(1).cloned()).await;
    assert_eq!(again.adopted.len(), 1);
    assert_eq!(again.incarnation, broker.state().registrations[0].incarnation);
    broker.cancel("obey-1-a");
    let (reason, ..) = failure(broker.settled("obey-1-a").await);
    assert_eq!(reason, FailureReason::Cancelled);
}

/// Both would register again and again, and take their tasks from each other.
#[tokio::test]
async fn of_two_workers_with_one_id_the_first_gives_way() {
    let broker = FakeBroker::start().await;
    let worker = start(&broker, 1);
    broker.add(handler_task("obey-1-a", "obey", b"wait"));
    broker.until("the start", |state| state.started.contains("obey-1-a").then_some(())).await;
    for registrations in 1..=2 {
        broker
            .until("it registers", |state| {
                (state.registrations.len() == registrations).then_some(())
            })
            .await;
        broker.change(|state| state.sessions.clear());
    }
    let error = worker.ended.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("another worker registers as w1"), "{error}");
    assert_eq!(worker.handler.running.load(Ordering::SeqCst), 0, "what it ran is stopped");
    assert_eq!(broker.state().registrations.len(), 2);
}

#[tokio::test]
async fn an_outcome_outlives_an_outage_and_a_drain_gives_back() {
    let broker = FakeBroker::start().await;
    let worker = start(&broker, 2);
    broker.add(handler_task("obey-1-wait", "obey", b"wait"));
    broker.until("the start", |state| state.started.contains("obey-1-wait").then_some(())).await;
    broker.change(|state| state.is_down = true);
    worker.drain.cancel();
    // The handler is asked to end while nobody answers.
    while worker.handler.running.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
    broker.change(|state| state.is_down = false);
    let settled = broker.settled("obey-1-wait").await;
    let Settled::Released(call) = settled else { panic!("not released: {settled:?}") };
    assert_eq!(call.failure.unwrap().reason(), FailureReason::Drained);
    worker.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lease_long_without_heartbeats_is_told_and_the_attempt_goes_on() {
    let broker = FakeBroker::start().await;
    let worker = start(&broker, 1);
    broker.add(handler_task("obey-1-a", "obey", b"sense"));
    broker.until("the start", |state| state.started.contains("obey-1-a").then_some(())).await;
    broker.change(|state| state.is_down = true);
    while worker.handler.cut_off.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    broker.change(|state| state.is_down = false);
    assert!(matches!(broker.settled("obey-1-a").await, Settled::Completed(_)));
}

#[tokio::test]
async fn tasks_that_were_started_by_the_acquire_are_not_started_again() {
    let broker = FakeBroker::start().await;
    broker.change(|state| state.starts_on_acquire = true);
    let worker = start(&broker, 1);
    broker.add(handler_task("obey-1-a", "obey", b"echo"));
    broker.settled("obey-1-a").await;
    assert_eq!(broker.state().started.len(), 0);
    worker.drain.cancel();
    worker.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn outcomes_that_come_together_share_a_call_and_a_refused_one_harms_no_other() {
    fifty_outcomes_come_together(FakeBroker::start().await).await;
}

#[tokio::test]
async fn outcomes_go_one_by_one_to_a_broker_that_does_not_take_them_together() {
    let broker = FakeBroker::start().await;
    broker.change(|state| state.is_older = true);
    fifty_outcomes_come_together(broker).await;
}

async fn fifty_outcomes_come_together(broker: FakeBroker) {
    let worker = start(&broker, 50);
    let ids: Vec<String> = (0..50).map(|n| format!("obey-1-{n}")).collect();
    broker.change(|state| {
        state.queue.extend(ids.iter().map(|id| handler_task(id, "obey", b"wait")));
    });
    broker.until("all run", |state| (state.started.len() == 50).then_some(())).await;
    // The first is somebody else's by now.
    broker.change(|state| state.leases.insert(ids[0].clone(), 9));
    for id in &ids[1..] {
        broker.cancel(id);
    }
    for id in &ids[1..] {
        assert!(matches!(broker.settled(id).await, Settled::Failed(_)));
    }
    assert!(!broker.state().settled.contains_key(&ids[0]));
    let (calls, is_older) = {
        let state = broker.state();
        (state.settle_calls.clone(), state.is_older)
    };
    assert!(is_older || calls.iter().sum::<usize>() > 25, "{calls:?}");
    worker.drain.cancel();
    worker.ended.await.unwrap().unwrap();
}
