//! Schedules over the wire: created, looked at, changed, run, back-filled, refused.

use asyncflow_proto::{
    time::{duration, timestamp, timestamp_ms},
    v1::{
        self,
        schedule_spec::{Action, Timing},
    },
};
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::harness::{TestBroker, by, refusal, tokens_file};

fn task() -> v1::TaskSpec {
    let payload = Some(v1::Content { data: "5".into(), content_type: "application/json".into() });
    v1::TaskSpec { task_type: "work".into(), payload, ..Default::default() }
}

fn cron(expression: &str, time_zone: &str) -> Option<Timing> {
    Some(Timing::Cron(v1::ScheduleCron {
        expression: expression.into(),
        time_zone: time_zone.into(),
        with_seconds: false,
    }))
}

fn nightly() -> v1::ScheduleSpec {
    v1::ScheduleSpec {
        name: "nightly".into(),
        labels: [("team".to_owned(), "vision".to_owned())].into(),
        timing: cron("30 3 * * *", "Europe/Berlin"),
        jitter: Some(duration(60_000)),
        overlap: v1::ScheduleOverlap::QueueOne.into(),
        action: Some(Action::Task(task())),
        ..Default::default()
    }
}

async fn create(t: &mut TestBroker, schedule: v1::ScheduleSpec) -> Result<v1::Schedule, Status> {
    let request = v1::CreateScheduleRequest { schedule: Some(schedule), ..Default::default() };
    Ok(t.schedules.create_schedule(request).await?.into_inner().schedule.unwrap())
}

async fn get(t: &mut TestBroker, id: &str) -> v1::GetScheduleResponse {
    let request = v1::GetScheduleRequest { schedule_id: id.into() };
    t.schedules.get_schedule(request).await.unwrap().into_inner()
}

fn update(id: &str, path: &str, schedule: v1::ScheduleSpec) -> v1::UpdateScheduleRequest {
    v1::UpdateScheduleRequest {
        schedule_id: id.into(),
        schedule: Some(schedule),
        update_mask: Some(FieldMask { paths: vec![path.into()] }),
        etag: String::new(),
    }
}

#[tokio::test]
async fn a_schedule_is_created_shown_listed_changed_and_deleted() {
    let mut t = TestBroker::start().await;
    let created = create(&mut t, nightly()).await.unwrap();
    let spec = created.spec.clone().unwrap();
    assert_eq!((spec.name.as_str(), spec.overlap()), ("nightly", v1::ScheduleOverlap::QueueOne));
    assert_eq!(spec.user, "anonymous");
    assert_eq!(created.state(), v1::ScheduleState::Active);
    let shown = get(&mut t, &created.id).await;
    assert_eq!((shown.schedule.unwrap(), shown.fires.len()), (created.clone(), 0));

    let mut ids = vec![created.id.clone()];
    for _ in 0..2 {
        ids.push(create(&mut t, nightly()).await.unwrap().id);
    }
    ids.reverse();
    let list = v1::ListSchedulesRequest { page_size: 2, ..Default::default() };
    let page = t.schedules.list_schedules(list.clone()).await.unwrap().into_inner();
    let rest = v1::ListSchedulesRequest { page_token: page.next_page_token, ..list.clone() };
    let rest = t.schedules.list_schedules(rest).await.unwrap().into_inner();
    let listed = page.schedules.into_iter().chain(rest.schedules).map(|listed| listed.id);
    assert_eq!((listed.collect::<Vec<_>>(), rest.next_page_token.as_str()), (ids, ""));
    let of_bob = v1::ListSchedulesRequest { user: "bob".into(), ..list };
    assert!(t.schedules.list_schedules(of_bob).await.unwrap().into_inner().schedules.is_empty());

    let hourly =
        v1::ScheduleSpec { timing: Some(Timing::Interval(duration(3_600_000))), ..nightly() };
    let with_etag = v1::UpdateScheduleRequest {
        etag: created.etag.clone(),
        ..update(&created.id, "timing", hourly)
    };
    let changed = t.schedules.update_schedule(with_etag.clone()).await.unwrap().into_inner();
    let changed = changed.schedule.unwrap();
    assert_ne!(changed.etag, created.etag);
    let ahead_ms = timestamp_ms(&changed.next_fire_time.unwrap()).unwrap()
        - timestamp_ms(&created.create_time.unwrap()).unwrap();
    assert_eq!(ahead_ms, 3_600_000);
    // A change that does not concern its times leaves them where they are.
    let named = v1::ScheduleSpec { name: "other".into(), ..nightly() };
    let named = t.schedules.update_schedule(update(&created.id, "name", named)).await.unwrap();
    let named = named.into_inner().schedule.unwrap();
    assert_eq!(named.next_fire_time, changed.next_fire_time);
    assert_eq!(named.spec.unwrap().name, "other");
    let changed = v1::Schedule { etag: named.etag, ..changed };
    let stale = t.schedules.update_schedule(with_etag).await.unwrap_err();
    assert_eq!(refusal(&stale).1, "REVISION_MISMATCH");

    let stale = v1::DeleteScheduleRequest { schedule_id: created.id.clone(), etag: created.etag };
    let stale = t.schedules.delete_schedule(stale).await.unwrap_err();
    assert_eq!(refusal(&stale).1, "REVISION_MISMATCH");
    let delete = v1::DeleteScheduleRequest { schedule_id: created.id, etag: changed.etag };
    t.schedules.delete_schedule(delete.clone()).await.unwrap();
    let gone = t.schedules.delete_schedule(delete).await.unwrap_err();
    let expected = (Code::NotFound, "SCHEDULE_NOT_FOUND".to_owned(), vec![]);
    assert_eq!(refusal(&gone), expected);
    t.stop().await;
}

#[tokio::test]
async fn it_is_paused_resumed_and_run_by_hand() {
    let mut t = TestBroker::start().await;
    let id = create(&mut t, nightly()).await.unwrap().id;
    let pause = v1::PauseScheduleRequest { schedule_id: id.clone() };
    for _ in 0..2 {
        let paused = t.schedules.pause_schedule(pause.clone()).await.unwrap().into_inner();
        let paused = paused.schedule.unwrap();
        assert_eq!(paused.state(), v1::ScheduleState::Paused);
        assert_eq!(paused.next_fire_time, None);
    }
    let run = v1::RunScheduleRequest { schedule_id: id.clone(), request_id: "r".into() };
    let ran = t.schedules.run_schedule(run.clone()).await.unwrap().into_inner();
    let again = t.schedules.run_schedule(run).await.unwrap().into_inner();
    assert_eq!((ran.deduplicated, again.deduplicated), (false, true));
    let fire = ran.fire.unwrap();
    assert_eq!(again.fire.as_ref(), Some(&fire));
    assert_eq!(fire.outcome(), v1::FireOutcome::Fired);
    let task = t.get(&fire.task_id).await;
    assert_eq!(task.trace_id.len(), 32, "each fire is a trace of its own");
    assert_eq!((task.payload.unwrap().data.as_ref(), task.user.as_str()), (&b"5"[..], "anonymous"));

    let resume = v1::ResumeScheduleRequest { schedule_id: id.clone() };
    let resumed = t.schedules.resume_schedule(resume).await.unwrap().into_inner();
    assert!(resumed.schedule.unwrap().next_fire_time.is_some());
    let shown = get(&mut t, &id).await;
    assert_eq!((shown.fires, shown.schedule.unwrap().fired_count), (vec![fire], 1));
    t.stop().await;
}

/// A worker that waits is given what a schedule makes, as any other task.
#[tokio::test]
async fn the_past_is_filled_with_workflows() {
    let mut t = TestBroker::start().await;
    let node = |name: &str| v1::WorkflowNode {
        name: name.into(),
        work: Some(v1::workflow_node::Work::Task(task())),
        ..Default::default()
    };
    let workflow =
        v1::WorkflowSpec { name: "w".into(), nodes: vec![node("a")], ..Default::default() };
    let spec = v1::ScheduleSpec { action: Some(Action::Workflow(workflow)), ..nightly() };
    let id = create(&mut t, spec).await.unwrap().id;
    // The night in which Berlin's clocks are set forward included: 03:30 is there.
    let (from, to) = ("2025-03-29T00:00:00Z", "2025-04-01T00:00:00Z");
    let request = v1::BackfillScheduleRequest {
        schedule_id: id.clone(),
        start_time: from.parse().ok(),
        end_time: to.parse().ok(),
    };
    let filled = t.schedules.backfill_schedule(request.clone()).await.unwrap().into_inner();
    let times: Vec<String> =
        filled.fires.iter().map(|fire| fire.fire_time.unwrap().to_string()).collect();
    let expected = ["2025-03-29T02:30:00Z", "2025-03-30T01:30:00Z", "2025-03-31T01:30:00Z"];
    assert_eq!(times, expected);
    for fire in &filled.fires {
        let request = v1::GetWorkflowRequest { workflow_id: fire.workflow_id.clone() };
        let made = t.broker.get_workflow(request).await.unwrap().into_inner();
        assert_eq!(made.workflow.unwrap().state(), v1::WorkflowState::Running);
    }
    let again = t.schedules.backfill_schedule(request.clone()).await.unwrap().into_inner();
    assert_eq!((again.fires.len(), again.already_fired_count), (0, 3));

    let none = v1::BackfillScheduleRequest { start_time: None, end_time: None, ..request.clone() };
    let none = t.schedules.backfill_schedule(none).await.unwrap_err();
    assert_eq!(refusal(&none).2, ["start_time", "end_time"]);
    let long_ahead = Some(timestamp(i64::from(u32::MAX) * 1_000));
    let ahead = v1::BackfillScheduleRequest { end_time: long_ahead, ..request.clone() };
    let ahead = t.schedules.backfill_schedule(ahead).await.unwrap_err();
    assert_eq!(refusal(&ahead).2[0], "end_time");
    let long_ago = Some(timestamp(0));
    let many = v1::BackfillScheduleRequest { start_time: long_ago, ..request };
    let many = t.schedules.backfill_schedule(many).await.unwrap_err();
    assert!(many.message().contains("more than 1000"), "{many}");
    t.stop().await;
}

#[tokio::test]
async fn fire_times_are_told_of_what_is_and_of_what_might_be() {
    let mut t = TestBroker::start().await;
    let id = create(&mut t, nightly()).await.unwrap().id;
    let after = "2028-02-28T12:00:00Z".parse().ok();
    let of_stored =
        v1::ListFireTimesRequest { schedule_id: id, after, count: 2, ..Default::default() };
    let times = t.schedules.list_fire_times(of_stored.clone()).await.unwrap().into_inner();
    let text = |times: v1::ListFireTimesResponse| -> Vec<String> {
        times.fire_times.iter().map(ToString::to_string).collect()
    };
    assert_eq!(text(times), ["2028-02-29T02:30:00Z", "2028-03-01T02:30:00Z"]);
    let spec = v1::ScheduleSpec { timing: cron("0 0 29 2 *", ""), ..Default::default() };
    let of_spec = v1::ListFireTimesRequest {
        schedule: Some(spec.clone()),
        after,
        count: 1,
        ..Default::default()
    };
    let times = t.schedules.list_fire_times(of_spec).await.unwrap().into_inner();
    assert_eq!(text(times), ["2028-02-29T00:00:00Z"]);
    let both = v1::ListFireTimesRequest { schedule: Some(spec), count: 1_001, ..of_stored };
    let both = t.schedules.list_fire_times(both).await.unwrap_err();
    assert_eq!(refusal(&both).2, ["count", "schedule"]);
    t.stop().await;
}

#[tokio::test]
async fn a_repeated_request_makes_one_schedule() {
    let mut t = TestBroker::start().await;
    let named = |schedule| v1::CreateScheduleRequest {
        schedule: Some(schedule),
        request_id: "r".into(),
        validate_only: false,
    };
    let first = t.schedules.create_schedule(named(nightly())).await.unwrap().into_inner();
    let again = t.schedules.create_schedule(named(nightly())).await.unwrap().into_inner();
    assert_eq!((first.deduplicated, again.deduplicated), (false, true));
    assert_eq!(first.schedule, again.schedule);
    let other = v1::ScheduleSpec { name: "other".into(), ..nightly() };
    let other = t.schedules.create_schedule(named(other)).await.unwrap_err();
    assert_eq!(refusal(&other).1, "REQUEST_ID_REUSED");
    let check = v1::CreateScheduleRequest { validate_only: true, ..named(nightly()) };
    let check = t.schedules.create_schedule(check).await.unwrap().into_inner();
    assert_eq!(check, Default::default());
    t.stop().await;
}

#[tokio::test]
async fn what_is_no_schedule_is_refused_with_all_that_is_wrong() {
    let mut t = TestBroker::start().await;
    let refused = |error: Status| {
        let (code, _, fields) = refusal(&error);
        assert_eq!(code, Code::InvalidArgument, "{error}");
        fields
    };
    let empty = create(&mut t, v1::ScheduleSpec::default()).await.unwrap_err();
    assert_eq!(refused(empty), ["schedule", "schedule"]);
    let all = v1::ScheduleSpec {
        name: "n".repeat(200),
        timing: cron("0 0 30 2 *", "Mars/Olympus"),
        start_time: Some(timestamp(5_000)),
        end_time: Some(timestamp(4_000)),
        jitter: Some(duration(-1)),
        catch_up: Some(duration(1)),
        action: Some(Action::Task(v1::TaskSpec {
            task_type: "No".into(),
            user: "bob".into(),
            not_before: Some(timestamp(5_000)),
            ..Default::default()
        })),
        ..Default::default()
    };
    let fields = refused(create(&mut t, all).await.unwrap_err());
    for field in [
        "schedule.name",
        "schedule.cron.expression",
        "schedule.cron.time_zone",
        "schedule.end_time",
        "schedule.jitter",
        "schedule.catch_up",
        "schedule.task.task_type",
        "schedule.task.user",
        "schedule.task.not_before",
    ] {
        assert!(fields.iter().any(|told| told == field), "{field} is not in {fields:?}");
    }
    for (timing, field) in [
        (Timing::Interval(duration(999)), "schedule.interval"),
        (Timing::Interval(duration(i64::MAX)), "schedule.interval"),
        (Timing::Once(timestamp(5_000)), "schedule"),
        (Timing::Once(timestamp(i64::from(u32::MAX) * 1_000_000)), "schedule.once"),
    ] {
        let spec = v1::ScheduleSpec { timing: Some(timing), ..nightly() };
        assert_eq!(refused(create(&mut t, spec).await.unwrap_err()), [field]);
    }
    let overlap = v1::ScheduleSpec { overlap: 77, ..nightly() };
    let overlap = create(&mut t, overlap).await.unwrap_err();
    assert!(overlap.message().contains("77 is no policy"), "{overlap}");
    assert_eq!(refused(overlap), ["schedule.overlap"]);
    let six = v1::ScheduleSpec { timing: cron("0 0 3 * * *", ""), ..nightly() };
    let six = create(&mut t, six).await.unwrap_err();
    assert!(six.message().contains("with_seconds"), "{six}");

    let id = create(&mut t, nightly()).await.unwrap().id;
    let unknown = t.schedules.update_schedule(update(&id, "user", nightly())).await.unwrap_err();
    assert_eq!(refused(unknown), ["update_mask"]);
    let bad = v1::ScheduleSpec { timing: cron("61 * * * *", ""), ..nightly() };
    let bad = t.schedules.update_schedule(update(&id, "timing", bad)).await.unwrap_err();
    assert_eq!(refused(bad), ["schedule.cron.expression"]);
    let malformed = v1::GetScheduleRequest { schedule_id: "wf-0000000000001".into() };
    let malformed = t.schedules.get_schedule(malformed).await.unwrap_err();
    assert_eq!(refused(malformed), ["schedule_id"]);
    t.stop().await;
}

/// A schedule acts in its owner's name, so nobody else may change it, or make it act.
#[tokio::test]
async fn only_its_owner_and_administrators_change_a_schedule() {
    let folder = tempfile::tempdir().unwrap();
    let (ann, bob, root) = ("a".repeat(40), "b".repeat(40), "r".repeat(40));
    let lines = [("ann", "client", &*ann), ("bob", "client", &bob), ("root", "admin", &root)];
    let file = tokens_file(folder.path(), &lines);
    let mut t = TestBroker::with(&[("listen.auth.tokens_file", &file)]).await;
    let create = v1::CreateScheduleRequest { schedule: Some(nightly()), ..Default::default() };
    let created = t.schedules.create_schedule(by(&ann, create)).await.unwrap().into_inner();
    let id = created.schedule.unwrap().id;
    let of_ann = v1::ScheduleSpec { user: "ann".into(), ..nightly() };
    let of_ann = v1::CreateScheduleRequest { schedule: Some(of_ann), ..Default::default() };
    let refused = [
        t.schedules.create_schedule(by(&bob, of_ann)).await.err(),
        t.schedules.update_schedule(by(&bob, update(&id, "action", nightly()))).await.err(),
        t.schedules
            .run_schedule(by(
                &bob,
                v1::RunScheduleRequest { schedule_id: id.clone(), ..Default::default() },
            ))
            .await
            .err(),
        t.schedules
            .backfill_schedule(by(
                &bob,
                v1::BackfillScheduleRequest {
                    schedule_id: id.clone(),
                    start_time: Some(timestamp(0)),
                    end_time: Some(timestamp(1)),
                },
            ))
            .await
            .err(),
        t.schedules
            .pause_schedule(by(&bob, v1::PauseScheduleRequest { schedule_id: id.clone() }))
            .await
            .err(),
        t.schedules
            .resume_schedule(by(&bob, v1::ResumeScheduleRequest { schedule_id: id.clone() }))
            .await
            .err(),
        t.schedules
            .delete_schedule(by(
                &bob,
                v1::DeleteScheduleRequest { schedule_id: id.clone(), ..Default::default() },
            ))
            .await
            .err(),
    ];
    for (at, refused) in refused.into_iter().enumerate() {
        assert_eq!(refusal(&refused.unwrap()).1, "PERMISSION_DENIED", "{at}");
    }
    let pause = v1::PauseScheduleRequest { schedule_id: id.clone() };
    t.schedules.pause_schedule(by(&root, pause)).await.unwrap();
    let run = v1::RunScheduleRequest { schedule_id: id, request_id: String::new() };
    let ran = t.schedules.run_schedule(by(&ann, run)).await.unwrap().into_inner();
    assert_eq!(ran.fire.unwrap().outcome(), v1::FireOutcome::Fired);
    t.stop().await;
}
