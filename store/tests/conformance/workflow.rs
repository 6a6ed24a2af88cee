//! Workflows: what follows when a part has ended.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::{
    event::{Event, RetryHint, Settle},
    id::WorkflowId,
    reason::FailureReason,
    state::TaskState,
    task::{Content, FullTask},
    transition::Refusal,
    validate::workflow::{FanInput, NodeInput, WorkInput},
    workflow::{
        definition::NewWorkflow,
        graph::{Policy, When},
        progress::{NodeState, WorkflowState},
    },
};
use asyncflow_store::{
    ApplyError, CreateWorkflowError, ItemIs, RetryWorkflowError, Store, StoreOptions,
};
use serde_json::json;

use super::{
    fixture::{apply, claim, content, fence, get, type_name},
    workflow_fixture::{
        after, create, end, fan, node, result_of, state, states, task, view, work, work_one,
        workflow,
    },
};

pub async fn results_flow_along_a_chain(store: Store) {
    let steps = vec![task("", "add 5"), task("", "multiply 4"), task("", "add 1")];
    let new = workflow(json!(2), vec![node("sum", WorkInput::Chain(steps))]);
    let id = create(&store, &new).await;
    assert_eq!(view(&store, id).await.workflow.progress.nodes.ended(), 0);
    assert_eq!(work(&store).await, ["add 5", "multiply 4", "add 1"]);
    let view = view(&store, id).await;
    assert_eq!(view.workflow.progress.state, WorkflowState::Succeeded);
    let names: Vec<&str> = view.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["sum/1", "sum/2", "sum"]);
    assert_eq!(result_of(&store, id, "sum").await, json!(29));
    assert!(view.workflow.finish_time_ms.is_some());
}

pub async fn a_chord_calls_back_once_with_all_results(store: Store) {
    let members = (0..40).map(|n| task("", &format!("add {n}"))).collect();
    let chord = WorkInput::Chord(fan(members), Box::new(task("", "sum")));
    let id = create(&store, &workflow(json!(100), vec![node("all", chord)])).await;
    // Two brokers end the members at the same time, a few in each transaction.
    let other = Store::connect(&StoreOptions::new(store.url())).await.unwrap();
    let tasks: Vec<FullTask> =
        claim(&store, 7, 64).await.leased.into_iter().map(|leased| leased.task).collect();
    assert_eq!(tasks.len(), 40);
    let ends: Vec<_> = tasks.iter().map(|full| (full.task.id.clone(), end(full))).collect();
    let (odd, even): (Vec<_>, Vec<_>) = ends.chunks(3).enumerate().partition(|(at, _)| at % 2 > 0);
    let settle = async |store: &Store, parts: Vec<(usize, &[_])>| {
        let mut made = Vec::new();
        for (_, part) in parts {
            for answer in store.apply(part.to_vec()).await {
                made.extend(answer.unwrap().made);
            }
        }
        made
    };
    let (one, two) = tokio::join!(settle(&store, odd), settle(&other, even));
    let made: Vec<_> = one.into_iter().chain(two).collect();
    assert_eq!(made.len(), 1, "the callback is made once: {made:?}");
    assert_eq!(work(&store).await, ["sum"]);
    assert_eq!(result_of(&store, id, "all").await, json!(40 * 100 + (0..40).sum::<i64>()));
    assert_eq!(state(&store, id).await, WorkflowState::Succeeded);
    other.close().await;
}

pub async fn a_group_runs_a_few_at_a_time(store: Store) {
    let members = (0..7).map(|n| task("", &format!("add {n}"))).collect();
    let group = FanInput { parallel_max: 3, ..fan(members) };
    let id = create(&store, &workflow(json!(0), vec![node("g", WorkInput::Group(group))])).await;
    let mut seen = Vec::new();
    loop {
        let leased = claim(&store, 7, 64).await.leased;
        let Some(first) = leased.first() else { break };
        assert!(leased.len() <= 3, "{}", leased.len());
        seen.push(leased.len());
        // The others of this portion are ended by the next turn's worker.
        let first = &first.task;
        apply(&store, &first.task.id, end(first)).await.unwrap();
        for leased in &leased[1..] {
            apply(&store, &leased.task.task.id, end(&leased.task)).await.unwrap();
        }
    }
    assert_eq!(seen, [3, 3, 1]);
    assert_eq!(state(&store, id).await, WorkflowState::Succeeded);
}

pub async fn a_failure_stops_the_rest_and_starts_what_deals_with_it(store: Store) {
    let when = |when, node: NodeInput| NodeInput { when, ..node };
    let nodes = vec![
        task("good", "echo"),
        task("bad", "fail"),
        after(&["good"], task("next", "echo")),
        after(&["bad"], task("never", "echo")),
        when(When::AnyFailed, after(&["good", "bad"], task("mend", "echo"))),
        when(When::AllDone, after(&["next", "never"], task("clean", "echo"))),
        when(When::AnyFailed, after(&["good"], task("idle", "echo"))),
    ];
    let id = create(&store, &workflow(json!("x"), nodes)).await;
    let leased: Vec<FullTask> =
        claim(&store, 7, 9).await.leased.into_iter().map(|leased| leased.task).collect();
    let by_name: BTreeMap<_, _> =
        leased.iter().map(|full| (full.task.name.as_str(), full)).collect();
    apply(&store, &by_name["fail"].task.id, end(by_name["fail"])).await.unwrap();
    let good = &by_name["echo"].task.id;
    assert_eq!(get(&store, good).await.task.state, TaskState::Cancelling, "it is being stopped");
    assert_eq!(state(&store, id).await, WorkflowState::Failing);
    let message = "stopped".to_owned();
    let settle = Settle::Fail { reason: FailureReason::Cancelled, message, hint: RetryHint::Never };
    let fence = fence(&by_name["echo"].task);
    let stopped = Event::Settle { fence, settle, digest: 3, exit_code: None, usage: None };
    apply(&store, good, stopped).await.unwrap();
    assert_eq!(work(&store).await.len(), 2);
    let view = view(&store, id).await;
    let expected = [
        ("good", NodeState::Cancelled),
        ("bad", NodeState::Failed),
        ("next", NodeState::Cancelled),
        ("never", NodeState::Cancelled),
        ("mend", NodeState::Succeeded),
        ("clean", NodeState::Succeeded),
        ("idle", NodeState::Skipped),
    ];
    assert_eq!(states(&view), expected.into());
    assert_eq!(view.workflow.progress.state, WorkflowState::Failed);
}

/// The node that has the name of a chord or chain is not the one that fails.
pub async fn trouble_within_a_whole_is_that_of_the_whole(store: Store) {
    let chord = WorkInput::Chord(fan(vec![task("", "fail")]), Box::new(task("", "sum")));
    let chain = WorkInput::Chain(vec![task("", "echo"), task("", "fail"), task("", "echo")]);
    for (work_input, failed) in [(chord, "all/members"), (chain, "all/2")] {
        let mend = after(&["all"], task("mend", "echo"));
        let input = format!("nodes['{failed}'].message");
        let mend = NodeInput { when: When::AnyFailed, input, ..mend };
        let new = workflow(json!(1), vec![node("all", work_input), mend]);
        let id = create(&store, &new).await;
        work(&store).await;
        let view = view(&store, id).await;
        assert_eq!(states(&view)[failed], NodeState::Failed);
        assert_eq!(states(&view)["mend"], NodeState::Succeeded);
        let told = result_of(&store, id, "mend").await;
        assert!(told.as_str().unwrap().contains("it broke"), "{told}");
        assert_eq!(view.workflow.progress.state, WorkflowState::Failed);
    }
}

pub async fn a_map_over_a_result_is_reduced(store: Store) {
    let each = task("", "multiply 10");
    let reduce = Box::new(task("", "sum"));
    let map = WorkInput::Map { over: "prev".into(), each: fan(vec![each]), reduce: Some(reduce) };
    let nodes = vec![task("list", "echo"), after(&["list"], node("m", map))];
    let id = create(&store, &workflow(json!([1, 2, 3, 4]), nodes)).await;
    work(&store).await;
    assert_eq!(result_of(&store, id, "m").await, json!(100));
    assert_eq!(view(&store, id).await.nodes[1].progress.items, 4);
    assert_eq!(state(&store, id).await, WorkflowState::Succeeded);
}

/// Its list is longer than what is evaluated again and again, and than what one transaction starts.
pub async fn a_long_map_goes_on_where_it_was(store: Store) {
    let items: Vec<i64> = (0..1_203).collect();
    let map = WorkInput::Map {
        over: "input".into(),
        each: FanInput { parallel_max: 70, ..fan(vec![task("", "add 1")]) },
        reduce: Some(Box::new(task("", "sum"))),
    };
    let id = create(&store, &workflow(json!(items), vec![node("all", map)])).await;
    assert_eq!(work(&store).await.len(), 1_204);
    let sum: i64 = items.iter().map(|item| item + 1).sum();
    assert_eq!(result_of(&store, id, "all").await, json!(sum));
}

pub async fn items_may_be_workflows_of_their_own(store: Store) {
    let chain = WorkInput::Chain(vec![task("", "add 1"), task("", "multiply 2")]);
    let map = WorkInput::Map {
        over: "input".into(),
        each: fan(vec![node("", chain)]),
        reduce: Some(Box::new(task("", "sum"))),
    };
    let id = create(&store, &workflow(json!([1, 2, 3]), vec![node("m", map)])).await;
    work(&store).await;
    assert_eq!(result_of(&store, id, "m").await, json!(4 + 6 + 8));
    assert_eq!(state(&store, id).await, WorkflowState::Succeeded);
    let items = store.list_workflow_items(id, Some(0), None, 9).await.unwrap();
    let children: BTreeSet<_> = items.iter().map(|item| format!("{:?}", item.is)).collect();
    assert_eq!(children.len(), 3);
    let listed = store.list_workflows(Some("ann"), None, 10).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|workflow| workflow.id).collect();
    assert_eq!(listed, [id], "items are not listed by themselves");
    // A failure inside of one is a failure of the whole.
    let bad = WorkInput::Chain(vec![task("", "fail"), task("", "echo")]);
    let group = WorkInput::Group(fan(vec![node("", bad), task("", "echo")]));
    let id = create(&store, &workflow(json!(1), vec![node("g", group)])).await;
    work(&store).await;
    let view = view(&store, id).await;
    assert_eq!(view.workflow.progress.state, WorkflowState::Failed);
    let message = view.workflow.message.unwrap();
    assert!(message.starts_with("g: wf-") && message.ends_with(": it broke"), "{message}");
    assert_eq!(view.nodes[0].message.as_ref().unwrap(), message.strip_prefix("g: ").unwrap());
}

pub async fn conditions_and_inputs_are_expressions(store: Store) {
    let with = |run_if: &str, input: &str, node: NodeInput| NodeInput {
        run_if: run_if.into(),
        input: input.into(),
        ..node
    };
    let nodes = vec![
        task("a", "echo"),
        task("b", "add 7"),
        after(&["a", "b"], with("nodes.b.result > input.n", "", task("less", "echo"))),
        after(&["a", "b"], with("prev.b == 7", "[prev.b, prev.a.n + 1]", task("more", "echo"))),
        after(&["less"], task("behind", "echo")),
        after(&["more"], with("", "prev.missing", task("broken", "echo"))),
    ];
    let id = create(&store, &workflow(json!({"n": 41}), nodes)).await;
    work(&store).await;
    let view = view(&store, id).await;
    let expected = [
        ("a", NodeState::Succeeded),
        ("b", NodeState::Succeeded),
        ("less", NodeState::Skipped),
        ("more", NodeState::Succeeded),
        ("behind", NodeState::Skipped),
        ("broken", NodeState::Failed),
    ];
    assert_eq!(states(&view), expected.into());
    assert_eq!(result_of(&store, id, "more").await, json!([7, 42]));
    let message = view.nodes[5].message.clone().unwrap();
    assert!(message.contains("input: "), "{message}");
    assert_eq!(view.workflow.progress.state, WorkflowState::Failed);
    assert!(view.workflow.message.unwrap().starts_with("broken: "));
}

pub async fn results_of_many_are_bounded_together(store: Store) {
    let names: Vec<String> = (0..72).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut nodes: Vec<NodeInput> = names.iter().map(|name| task(name, "large")).collect();
    let state = "nodes.n0.state";
    let reads = |needs, node| after(needs, NodeInput { input: state.into(), ..node });
    nodes.push(reads(&names[..60], task("few", "echo")));
    nodes.push(reads(&names[..], task("many", "echo")));
    let id = create(&store, &workflow(json!(1), nodes)).await;
    work(&store).await;
    assert_eq!(result_of(&store, id, "few").await, json!("SUCCEEDED"));
    let view = view(&store, id).await;
    assert_eq!(states(&view)["many"], NodeState::Failed);
    let message = view.nodes.last().unwrap().message.clone().unwrap();
    assert!(message.contains("the results of n70 are, together with others"), "{message}");
}

pub async fn a_cancelled_workflow_starts_nothing_more(store: Store) {
    let steps = vec![task("", "echo"), task("", "echo")];
    let nodes = vec![node("chain", WorkInput::Chain(steps)), task("waits", "echo")];
    let id = create(&store, &workflow(json!(1), nodes)).await;
    let one = claim(&store, 7, 1).await.leased.remove(0).task;
    let (cancelled, made) = store.cancel_workflow(id).await.unwrap().unwrap();
    assert_eq!((cancelled.progress.state, made.len()), (WorkflowState::Cancelling, 0));
    assert!(claim(&store, 7, 9).await.leased.is_empty(), "what waited is cancelled");
    // It had ended before it was told.
    apply(&store, &one.task.id, end(&one)).await.unwrap();
    assert!(claim(&store, 7, 9).await.leased.is_empty());
    assert_eq!(state(&store, id).await, WorkflowState::Cancelled);
    let (again, _) = store.cancel_workflow(id).await.unwrap().unwrap();
    assert_eq!(again.progress.state, WorkflowState::Cancelled);
    assert!(store.cancel_workflow(WorkflowId(1)).await.unwrap().is_none());
}

pub async fn a_request_id_makes_one_workflow(store: Store) {
    let new = workflow(json!(1), vec![task("a", "echo")]);
    let new = NewWorkflow { request_id: Some("r".into()), ..new };
    store.ensure_type(&type_name("work")).await.unwrap();
    let (one, two) = tokio::join!(store.create_workflow(&new), store.create_workflow(&new));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.workflow.id, two.workflow.id);
    assert!(one.deduplicated != two.deduplicated);
    assert_eq!(one.made.len() + two.made.len(), 1);
    let other = NewWorkflow { input: content("other"), ..new.clone() };
    let refused = store.create_workflow(&other).await.unwrap_err();
    assert!(matches!(refused, CreateWorkflowError::RequestIdReused(id) if id == one.workflow.id));
    let elsewhere = NewWorkflow { user: "bob".into(), input: Content::default(), ..new };
    assert!(!store.create_workflow(&elsewhere).await.unwrap().deduplicated);
}

pub async fn a_part_is_not_changed_behind_its_workflow(store: Store) {
    let id = create(&store, &workflow(json!(1), vec![task("a", "fail")])).await;
    let items = store.list_workflow_items(id, None, None, 9).await.unwrap();
    let ItemIs::Task(task_id, _) = &items[0].is else { panic!("{items:?}") };
    store.delete(task_id).await.unwrap_err();
    work(&store).await;
    let retried = apply(&store, task_id, Event::retry(false)).await.unwrap_err();
    assert!(retried.to_string().contains("part of workflow"), "{retried}");
    store.delete(task_id).await.unwrap();
    assert_eq!(state(&store, id).await, WorkflowState::Failed);
}

pub async fn a_result_is_not_deleted_while_it_may_be_needed(store: Store) {
    let steps = vec![task("a", "add 1"), after(&["a"], task("b", "flaky"))];
    let id = create(&store, &workflow(json!(1), steps)).await;
    let first = work_one(&store).await.task.id;
    let kept = async || {
        let refused = store.delete(&first).await.unwrap_err();
        let refusal = Refusal::OfLiveWorkflow(id);
        assert!(matches!(&refused, ApplyError::Refused(of, _) if *of == refusal), "{refused}");
        assert!(refused.to_string().contains(&id.to_string()), "{refused}");
    };
    kept().await;
    work(&store).await;
    assert_eq!(state(&store, id).await, WorkflowState::Failed);
    store.retry_workflow(id).await.unwrap();
    kept().await;
    work(&store).await;
    assert_eq!(state(&store, id).await, WorkflowState::Succeeded);
    assert_eq!(result_of(&store, id, "b").await, json!(2));
    assert_eq!(store.delete(&first).await.unwrap().id, first);
}

pub async fn what_an_inner_workflow_made_is_kept_for_the_outer_one(store: Store) {
    let chain = WorkInput::Chain(vec![task("", "add 1"), task("", "multiply 2")]);
    let map =
        WorkInput::Map { over: "input".into(), each: fan(vec![node("", chain)]), reduce: None };
    let nodes = vec![node("m", map), after(&["m"], task("last", "sum"))];
    let id = create(&store, &workflow(json!([4]), nodes)).await;
    let first = work_one(&store).await.task.id;
    let part = work_one(&store).await.task;
    let inner = part.member.unwrap().workflow;
    assert_ne!(inner, id);
    assert_eq!(state(&store, inner).await, WorkflowState::Succeeded);
    let refused = store.delete(&part.id).await.unwrap_err();
    let refusal = Refusal::OfLiveWorkflow(id);
    assert!(matches!(&refused, ApplyError::Refused(of, _) if *of == refusal), "{refused}");
    work(&store).await;
    assert_eq!(state(&store, id).await, WorkflowState::Succeeded);
    assert_eq!(result_of(&store, id, "last").await, json!(10));
    store.delete(&part.id).await.unwrap();
    // A workflow that is forgotten needs nothing any more.
    let later_ms = store.now_ms().await.unwrap() + 60_000;
    assert_eq!(store.purge_workflows(later_ms, 10, None).await.unwrap(), 1);
    store.delete(&first).await.unwrap();
}

pub async fn a_retry_goes_on_where_it_failed(store: Store) {
    let chain = WorkInput::Chain(vec![task("", "echo"), task("", "flaky"), task("", "add 2")]);
    let group = FanInput {
        parallel_max: 2,
        policy: Policy::Continue,
        ..fan(vec![task("", "echo"), task("", "flaky"), node("", chain)])
    };
    let map = WorkInput::Map {
        over: "input.list".into(),
        each: fan(vec![task("", "flaky")]),
        reduce: None,
    };
    let nodes = vec![
        node("g", WorkInput::Group(group)),
        node("m", map),
        after(&["g", "m"], task("last", "echo")),
        NodeInput { when: When::AnyFailed, ..after(&["g"], task("mend", "echo")) },
    ];
    let mut new = workflow(json!({"list": [1, 2]}), nodes);
    new.flow.policy = Policy::Continue;
    let id = create(&store, &new).await;
    let first = work(&store).await;
    assert!(!first.contains(&"add 2".to_owned()), "{first:?}");
    assert_eq!(state(&store, id).await, WorkflowState::Failed);
    let ran = async |node: u32| -> Vec<(String, i32)> {
        let items = store.list_workflow_items(id, Some(node), None, 9).await.unwrap();
        let is = items.into_iter().filter_map(|item| match item.is {
            ItemIs::Task(id, Some(task)) => Some((id.to_string(), task.run)),
            _ => None,
        });
        is.collect()
    };
    let (group_before, mend_before) = (ran(0).await, ran(3).await);
    store.cancel_workflow(id).await.unwrap();
    let (retried, made) = store.retry_workflow(id).await.unwrap();
    assert_eq!((retried.progress.state, retried.finish_time_ms), (WorkflowState::Running, None));
    assert!(!made.is_empty());
    let again = store.retry_workflow(id).await.unwrap_err();
    assert!(matches!(again, RetryWorkflowError::IllegalState(WorkflowState::Running)), "{again}");
    let second = work(&store).await;
    let view = view(&store, id).await;
    assert_eq!(view.workflow.progress.state, WorkflowState::Succeeded, "{view:?}");
    assert_eq!(second.iter().filter(|name| *name == "flaky").count(), 4, "{second:?}");
    assert_eq!(second.iter().filter(|name| *name == "echo").count(), 1, "{second:?}");
    // The task that failed is the same, in its next run; the one that succeeded was left alone.
    let expected: Vec<_> =
        group_before.iter().zip([0, 1]).map(|((id, _), run)| (id.clone(), run)).collect();
    assert_eq!(ran(0).await, expected);
    assert_eq!(states(&view)["mend"], NodeState::Skipped);
    assert_eq!((mend_before.len(), ran(3).await.len()), (1, 0), "what it did is of the other run");
    let over = store.retry_workflow(id).await.unwrap_err();
    assert!(matches!(over, RetryWorkflowError::IllegalState(WorkflowState::Succeeded)), "{over}");
}

pub async fn at_least_some_are_enough(store: Store) {
    let members = vec![task("", "fail"), task("", "echo"), task("", "fail"), task("", "echo")];
    for (least, expected) in [(2, WorkflowState::Succeeded), (3, WorkflowState::Failed)] {
        let group = FanInput { policy: Policy::AtLeast(least), ..fan(members.clone()) };
        let new = workflow(json!(1), vec![node("g", WorkInput::Group(group))]);
        let id = create(&store, &new).await;
        work(&store).await;
        assert_eq!(state(&store, id).await, expected, "{least}");
    }
}

/// A gate stays shut when the workflow runs again after it was cancelled with the whole.
pub async fn a_retried_part_waits_for_its_signal(store: Store) {
    let mut gate = task("deploy", "ok");
    let WorkInput::Task(input) = &mut gate.work else { panic!("no task") };
    input.signals = vec!["approved".into()];
    let id = create(&store, &workflow(json!(1), vec![task("tests", "fail"), gate])).await;
    assert_eq!(work(&store).await, ["fail"]);
    assert_eq!(state(&store, id).await, WorkflowState::Failed, "the gate is cancelled with it");
    store.retry_workflow(id).await.unwrap();
    assert_eq!(work(&store).await, ["fail"], "nobody has approved");
    store.retry_workflow(id).await.unwrap();
    store.signal_workflow(id, ("approved", &content("yes")), "ann").await.unwrap();
    let mut ran = work(&store).await;
    ran.sort();
    assert_eq!(ran, ["fail", "ok"]);
}
