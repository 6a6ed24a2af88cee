//! Calls that race: whoever wins, each caller is told the truth, and a task ends once.

use asyncflow_proto::v1::{AttemptOutcome, TaskState};
use asyncflow_tests::{Backend, Cluster, Shape, command};
use futures::future::join_all;

const ROUNDS: usize = 10;
const TASKS: usize = 20;

/// Tasks that end at once are cancelled at about the same moment.
async fn cancel_against_complete(backend: Backend) {
    let cluster = Cluster::start(backend, Shape { slots: 8, ..Shape::default() }).await;
    let client = cluster.client(0);
    let mut outcomes = [0_usize; 2];
    // Between the cancels of a round: longer when every task was cancelled, shorter when none was.
    let mut step_ms = 4;
    for round in 0..ROUNDS {
        let before = outcomes;
        let races = (0..TASKS).map(|n| {
            let client = client.clone();
            async move {
                let id = client.create(command(["true"])).await.unwrap().id;
                let pause_ms = (n * step_ms + round) as u64;
                tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
                let cancelled = client.cancel(&id, "race").await;
                let task = client.wait(&id, None).await.unwrap();
                let attempts = client.attempts(&id).await.unwrap();
                (cancelled, task, attempts)
            }
        });
        for (cancelled, task, attempts) in join_all(races).await {
            let last = attempts.last().map(|attempt| attempt.outcome());
            assert!(attempts.len() <= 1, "{attempts:?}");
            match (task.state(), cancelled) {
                (TaskState::Cancelled, Ok(_)) => {
                    assert!(matches!(last, None | Some(AttemptOutcome::Cancelled)), "{last:?}");
                    outcomes[0] += 1;
                }
                // Asked for while the task ran, and lost: the answer said CANCELLING.
                (TaskState::Succeeded, Ok(answer)) => {
                    assert_eq!(answer.state(), TaskState::Cancelling);
                    assert_eq!(last, Some(AttemptOutcome::Succeeded));
                    outcomes[1] += 1;
                }
                (TaskState::Succeeded, Err(error)) => {
                    assert_eq!(error.code(), tonic::Code::FailedPrecondition, "{error}");
                    assert_eq!(last, Some(AttemptOutcome::Succeeded));
                    outcomes[1] += 1;
                }
                (state, cancelled) => panic!("{state:?} {cancelled:?} {attempts:?}"),
            }
        }
        step_ms = match [outcomes[0] - before[0], outcomes[1] - before[1]] {
            [_, 0] => step_ms * 2,
            [0, _] => (step_ms / 2).max(1),
            _ => step_ms,
        };
    }
    assert!(outcomes.iter().all(|&count| count > 0), "no race was run: {outcomes:?}");
}
on_each_database!(cancel_against_complete);

/// Delete and retry race the claim of the same task.
async fn owners_against_the_claim(backend: Backend) {
    let cluster = Cluster::start(backend, Shape { slots: 8, ..Shape::default() }).await;
    let client = cluster.client(0);
    let races = (0..TASKS * 2).map(|n| {
        let client = client.clone();
        async move {
            let id = client.create(command(["true"])).await.unwrap().id;
            let pause = std::time::Duration::from_millis(n as u64);
            tokio::time::sleep(pause).await;
            let (deleted, retried) = tokio::join!(client.delete(&id), client.retry(&id, true));
            for error in [deleted.as_ref().err(), retried.as_ref().err()].into_iter().flatten() {
                let told = error.is_not_found() || error.code() == tonic::Code::FailedPrecondition;
                assert!(told, "{error}");
            }
            if deleted.is_ok() {
                assert!(client.get(&id).await.unwrap_err().is_not_found());
                return;
            }
            let task = client.wait(&id, None).await.unwrap();
            assert_eq!(task.state(), TaskState::Succeeded, "{:?}", task.failure);
            let runs = if retried.is_ok() { 2 } else { 1 };
            assert_eq!(task.attempt, runs);
            assert_eq!(client.attempts(&id).await.unwrap().len(), task.attempt as usize);
        }
    });
    join_all(races).await;
}
on_each_database!(owners_against_the_claim);
