//! Waiting for an end, in rounds that are not longer than a broker waits.

use std::time::Duration;

use asyncflow_proto::time::duration;
use tonic::{Request, Response, Status};

use super::{Broker, Client};
use crate::{Error, clock};

/// One round of waiting at the broker.
const ROUND: Duration = Duration::from_secs(30);
/// What a round may take besides.
const SLACK: Duration = Duration::from_secs(15);
/// A broker that shuts down answers at once; it must not be asked in a circle.
const ROUND_MIN: Duration = Duration::from_millis(200);

impl Client {
    /// Asks again and again, each time for at most the time that is left, until `is_done` with an
    /// answer, or `timeout` is over (`None` = as long as it takes); gives the last answer.
    pub(super) async fn wait_in_rounds<Q, A, F>(
        &self,
        timeout: Option<Duration>,
        request: impl Fn(prost_types::Duration) -> Q,
        send: impl Fn(Broker, Request<Q>) -> F,
        is_done: impl Fn(&A) -> bool,
    ) -> Result<A, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        // One that lies beyond all clocks is none.
        let end = timeout.and_then(|timeout| clock::now().checked_add(timeout));
        let waiting = async {
            loop {
                let began = clock::now();
                let left = end.map(|end| end.saturating_duration_since(began));
                let round = left.map_or(ROUND, |left| left.min(ROUND));
                let ms = i64::try_from(round.as_millis()).unwrap_or(i64::MAX);
                // Tries that are broken off ask for the whole round again.
                let calling = self.call_for(round + SLACK, request(duration(ms)), &send);
                let answer = match left {
                    Some(left) => in_time(left.saturating_add(SLACK), calling).await?,
                    None => calling.await?,
                };
                if is_done(&answer) || end.is_some_and(|end| clock::now() >= end) {
                    return Ok(answer);
                }
                tokio::time::sleep(ROUND_MIN.saturating_sub(began.elapsed())).await;
            }
        };
        self.in_time(waiting).await
    }
}

/// Ends work that takes longer with DEADLINE_EXCEEDED.
pub(super) async fn in_time<A>(
    limit: Duration,
    calling: impl Future<Output = Result<A, Error>>,
) -> Result<A, Error> {
    let ended = tokio::time::timeout(limit, calling).await;
    ended.unwrap_or_else(|_| Err(crate::status::late().into()))
}
