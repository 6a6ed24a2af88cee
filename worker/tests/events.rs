//! The script protocol: events file and socket, good and bad, against a fake broker.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../sdk/rust/tests/fake/mod.rs"]
#[allow(dead_code, reason = "shared with the runtime's tests")]
mod fake;
#[allow(dead_code, reason = "shared between test programs")]
mod support;

use asyncflow_proto::ATTEMPT_TOKEN_METADATA;
use asyncflow_sdk::v1::{
    Content, FailureReason, GetAttemptRequest, HandOverAttemptRequest, SaveAttemptContextRequest,
    SetAttemptResultRequest, ShouldStopRequest, Task, attempt_service_client::AttemptServiceClient,
};
use fake::{FakeBroker, Settled, command_task};
use support::Worker;
use tonic::{Code, Request};

fn script(id: &str, text: &str) -> Task {
    command_task(id, "sh", &["-ec", text])
}

fn result(settled: Settled) -> String {
    let Settled::Completed(call) = settled else { panic!("not completed: {settled:?}") };
    String::from_utf8(call.result.unwrap_or_default().data.to_vec()).unwrap()
}

#[tokio::test]
async fn everything_said_before_the_end_counts_in_its_order() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    broker.add(script(
        "command-1-say",
        r#"say() { printf '%s\n' "$1" >> "$ASYNCFLOW_EVENTS"; }
        say '{"event":"progress","percent":12.5,"message":"epoch 3/30"}'
        say '{"event":"context","data":{"epoch":3}}'
        say '{"event":"stage","stage":"train"}'
        say '{"event":"metrics","values":{"loss":0.25}}'
        say '{"event":"result","data":"first"}'
        say '{"event":"result","data":{"accuracy":0.97}}'"#,
    ));
    assert_eq!(result(broker.settled("command-1-say").await), r#"{"accuracy":0.97}"#);
    let state = broker.state();
    let progress = &state.progress["command-1-say"];
    assert_eq!((progress.percent, progress.message.as_str()), (Some(12.5), "epoch 3/30"));
    assert_eq!(progress.metrics["loss"], 0.25);
    assert_eq!(&state.contexts[0].context.as_ref().unwrap().data[..], br#"{"epoch":3}"#);
    assert_eq!(state.contexts[1].stage.as_deref(), Some("train"));
}

#[tokio::test]
async fn bad_lines_are_reported_and_the_good_ones_count() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    broker.add(script(
        "command-1-bad",
        r#"f="$ASYNCFLOW_EVENTS"
        echo '{"event":"stage","stage":"one"}' >> "$f"
        head -c 65537 /dev/zero | tr '\0' x >> "$f"; echo >> "$f"
        head -c 3000 /dev/urandom | tr '\n' ' ' >> "$f"; echo >> "$f"
        echo '{"event":"dance"}' >> "$f"
        head -c 9000 /dev/zero | tr '\0' y | sed 's/.*/{"event":"context","data":"&"}/' >> "$f"
        echo >> "$f"
        echo '{"event":"stage","stage":"two"}' >> "$f"
        printf '{"event":"stage","stage":"thr' >> "$f""#,
    ));
    assert_eq!(result(broker.settled("command-1-bad").await), "");
    let stages: Vec<_> = broker.state().contexts.iter().map(|save| save.stage.clone()).collect();
    assert_eq!(stages, [Some("one".to_owned()), Some("two".to_owned())]);
    let told = broker.log("command-1-bad", 3);
    for line in
        ["line 2: longer", "line 3: ", "line 4: unknown variant", "line 5: not saved", "line 7: "]
    {
        assert!(told.contains(line), "{line} is missing in {told}");
    }
}

#[tokio::test]
async fn an_events_file_that_is_cut_off_or_replaced_harms_nobody() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    broker.add(script(
        "command-1-cut",
        r#"f="$ASYNCFLOW_EVENTS"
        for i in 1 2 3 4 5 6 7 8 9; do echo '{"event":"progress","percent":1}' >> "$f"; done
        sleep 0.3
        echo '{"event":"stage","stage":"after"}' > "$f"
        sleep 0.3
        rm "$f"; ln -s /etc/passwd "$f"
        sleep 0.3"#,
    ));
    assert_eq!(result(broker.settled("command-1-cut").await), "");
    assert_eq!(broker.state().contexts[0].stage.as_deref(), Some("after"));
    let told = broker.log("command-1-cut", 3);
    assert!(told.contains("cut off") && told.contains("replaced"), "{told}");
    assert!(!told.contains("root:"), "a link was followed: {told}");
}

#[tokio::test]
async fn a_result_over_the_length_of_a_line_is_a_bad_line() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    broker.add(script(
        "command-1-large",
        // A line has 64 KiB at most, so such a result can only come by the socket; this one is
        // refused as a line and the program succeeds without it.
        r#"head -c 65537 /dev/zero | tr '\0' x | sed 's/.*/{"event":"result","data":"&"}/' \
           >> "$ASYNCFLOW_EVENTS""#,
    ));
    assert_eq!(result(broker.settled("command-1-large").await), "");
    assert!(broker.log("command-1-large", 3).contains("line 1: longer"));
}

/// By the file or by the socket, whatever the exit code; the last word counts.
#[tokio::test]
async fn who_gives_itself_away_is_released_with_its_context() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    for code in [0, 7, 85] {
        let id = format!("command-1-give{code}");
        broker.add(script(
            &id,
            &format!(
                r#"say() {{ printf '%s\n' "$1" >> "$ASYNCFLOW_EVENTS"; }}
                say '{{"event":"hand_over","data":1}}'
                say '{{"event":"hand_over","data":{{"offset":100000}},"message":"full"}}'
                exit {code}"#
            ),
        ));
        let settled = broker.settled(&id).await;
        let Settled::Released(call) = settled else { panic!("not released: {settled:?}") };
        assert_eq!(call.context.unwrap().data, r#"{"offset":100000}"#);
        assert!(call.elsewhere);
        assert_eq!((call.exit_code, call.delay), (Some(code), None));
        let failure = call.failure.unwrap();
        assert_eq!(failure.reason(), FailureReason::HandedOver);
        assert_eq!(failure.message, "full");
    }
}

#[tokio::test]
async fn a_task_calls_its_worker_by_the_socket_with_its_own_token_only() {
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |_| {});
    let go = worker.dir.path().join("go");
    broker.add(script(
        "command-1-call",
        &format!(
            "echo $ASYNCFLOW_SOCKET $ASYNCFLOW_ATTEMPT_TOKEN; \
             until test -e {}; do sleep 0.01; done; exit 3",
            go.display()
        ),
    ));
    let key = ("command-1-call".to_owned(), 1);
    let said = broker
        .until("the address", |state| {
            let log = String::from_utf8(state.logs.get(&key)?.clone()).ok()?;
            log.ends_with('\n').then_some(log)
        })
        .await;
    let (socket, token) = said.trim().split_once(' ').unwrap();
    let channel = tonic::transport::Endpoint::from_shared(format!("unix:{socket}"));
    let mut client = AttemptServiceClient::connect(channel.unwrap()).await.unwrap();
    fn with<T>(message: T, token: &str) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(ATTEMPT_TOKEN_METADATA, token.parse().unwrap());
        request
    }
    let refused = client.get_attempt(with(GetAttemptRequest {}, "wrong")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = client.get_attempt(GetAttemptRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);

    let own = client.get_attempt(with(GetAttemptRequest {}, token)).await.unwrap().into_inner();
    assert_eq!((own.task.unwrap().id.as_str(), own.attempt), ("command-1-call", 1));
    let save = SaveAttemptContextRequest {
        stage: Some("one".to_owned()),
        context: Some(Content { data: "c".into(), ..Content::default() }),
    };
    let saved = client.save_attempt_context(with(save, token)).await.unwrap().into_inner();
    assert_eq!(saved.context_version, 1);
    let large = SetAttemptResultRequest {
        result: Some(Content { data: vec![0; 65_537].into(), ..Content::default() }),
    };
    let refused = client.set_attempt_result(with(large, token)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let stop = client.should_stop(with(ShouldStopRequest {}, token)).await.unwrap().into_inner();
    assert!(!stop.should_stop);

    let large = Content { data: vec![0; 1_048_577].into(), ..Content::default() };
    let large = HandOverAttemptRequest { context: Some(large), message: String::new() };
    let refused = client.hand_over_attempt(with(large, token)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let hand_over = HandOverAttemptRequest { context: None, message: "full".to_owned() };
    client.hand_over_attempt(with(hand_over, token)).await.unwrap();

    std::fs::write(go, "").unwrap();
    let settled = broker.settled("command-1-call").await;
    let Settled::Released(call) = settled else { panic!("not released: {settled:?}") };
    assert_eq!((call.context, call.elsewhere, call.exit_code), (None, true, Some(3)));
    let refused = client.should_stop(with(ShouldStopRequest {}, token)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "the attempt is over");
}
