//! Says in the database that this broker lives: while none does, no heartbeat can arrive, and the
//! governor takes no worker for dead.

use std::time::Duration;

use asyncflow_store::Store;
use tokio_util::sync::CancellationToken;

/// Beats come so often in a heartbeat interval of workers.
const BEATS: u32 = 4;

/// Says so until `draining` is cancelled. A beat that fails is not repeated: the next one does.
pub(crate) async fn beat(store: Store, heartbeat: Duration, draining: CancellationToken) {
    let broker_id = format!("{:032x}", rand::random::<u128>());
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
