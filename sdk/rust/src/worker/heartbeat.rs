//! One heartbeat for all leases, and the stream over which the broker pushes commands.

use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    held::Held,
    link::{Link, Pause},
    stop::StopReason,
};
use crate::{
    Error, clock, status,
    v1::{HeartbeatRequest, StreamCommandsRequest, stream_commands_response::Command},
};

/// After a failure the next heartbeat comes after this part of the interval.
const HURRY: u32 = 5;

/// Renews all leases until it is dropped. If nothing got through for a whole lease on the monotonic
/// clock, the attempts are told that they are cut off; they go on, since the fence decides.
pub(super) async fn beat(link: &Link, held: &Held, draining: &CancellationToken) {
    let mut last_ok = clock::now();
    let mut failures = 0_u32;
    loop {
        let session = link.session().await;
        let interval = session.heartbeat_interval;
        let sent_at = clock::now();
        let answer = link
            .calls()
            .call(
                interval.max(Duration::from_secs(1)),
                |session_id| HeartbeatRequest {
                    session_id,
                    leases: held.leases(),
                    draining: draining.is_cancelled(),
                },
                |mut broker, request| async move { broker.heartbeat(request).await },
            )
            .await;
        let wait = match answer {
            Ok(answer) => {
                last_ok = sent_at;
                if std::mem::take(&mut failures) > 0 {
                    tracing::info!("heartbeats get through again");
                }
                held.set_cut_off(false);
                held.follow(&answer.leases);
                interval
            }
            Err(error) => {
                metrics::counter!("asyncflow_worker_heartbeat_failures_total").increment(1);
                // One line for an outage; the counter has the rest.
                if failures == 0 {
                    tracing::warn!(%error, "heartbeats fail");
                }
                failures += 1;
                clock::jittered(interval / HURRY)
            }
        };
        let cut_off_at = last_ok + session.lease_ttl;
        if clock::now() >= cut_off_at {
            held.set_cut_off(true);
        }
        tokio::time::sleep_until((sent_at + wait).max(clock::now() + wait / HURRY)).await;
    }
}

/// Follows pushed commands until it is dropped; the heartbeat is the safety net.
pub(super) async fn follow_commands(link: &Link, held: &Held, report_now: &Notify) {
    let mut pause = Pause::default();
    loop {
        let session = link.session().await;
        let (place, mut broker) = link.broker();
        let ended = async {
            let request = StreamCommandsRequest { session_id: session.id.clone() };
            let mut stream = broker.stream_commands(request).await?.into_inner();
            while let Some(message) = stream.message().await? {
                pause = Pause::default();
                match message.command {
                    Some(Command::Cancel(lease)) => held.raise(&lease, StopReason::Cancelled),
                    Some(Command::OrdersChanged(_)) => report_now.notify_one(),
                    None => {}
                }
            }
            Ok::<_, Error>(())
        }
        .await;
        let error = match ended {
            Ok(()) => status::stream_ended().into(),
            Err(error) => {
                link.note_error(place, &session.id, &error);
                error
            }
        };
        pause.after(&error).await;
    }
}
