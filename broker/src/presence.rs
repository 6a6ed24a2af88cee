//! Says in the database that this broker lives, and how often its workers renew: while no broker
//! lives, no heartbeat can arrive, and the governor takes no worker for dead.

use std::time::Duration;

use asyncflow_core::lease::broker_id;
use asyncflow_store::Store;
use tokio_util::sync::CancellationToken;

/// Beats come so often in a heartbeat interval of workers.
const BEATS: u32 = 4;

/// Says so until `draining` is cancelled. A beat that fails is not repeated: the next one does.
pub(crate) async fn beat(store: Store, heartbeat: Duration, draining: CancellationToken) {
    let heartbeat_ms = i64::try_from(heartbeat.as_millis()).unwrap_or(i64::MAX);
    let broker_id = broker_id(rand::random(), heartbeat_ms);
    loop {
        let beat = async {
            if let Err(error) = store.beat_broker(&broker_id).await {
                // That the database is away is told by who watches it.
                tracing::debug!(%error, "could not say that this broker lives");
            }
            tokio::time::sleep(heartbeat / BEATS).await;
        };
        if draining.run_until_cancelled(beat).await.is_none() {
            break;
        }
    }
}
