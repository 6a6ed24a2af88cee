//! Wake-ups by PostgreSQL's own LISTEN and NOTIFY, where there is no Redis.
//!
//! A NOTIFY takes a lock that all commits of the server take turns for, so it is never in the
//! transaction that it tells of: one statement of its own tells of all that came together while the
//! one before it was under way.

use std::sync::Arc;

use sea_orm::sqlx::{self, Connection, PgConnection, postgres::PgListener};

use super::bridge::{CALL_TIMEOUT, Carrier, Ears};
use crate::error::{Cause, TimedOut};

/// Of this database; other databases of the server do not hear it.
const CHANNEL: &str = "asyncflow_wake";

#[derive(Clone)]
pub(super) struct PostgresCarrier {
    url: String,
}

impl PostgresCarrier {
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned() }
    }
}

impl Carrier for PostgresCarrier {
    type Connection = PgConnection;

    /// PostgreSQL's limit is 8,000.
    const MESSAGE_BYTES_MAX: usize = 7_900;
    const HAS_A_PULSE: bool = false;

    async fn hear(&self, ears: &Ears) -> Result<(), Cause> {
        let listen = async {
            let mut listener = PgListener::connect(&self.url).await?;
            listener.listen(CHANNEL).await?;
            Ok::<_, sqlx::Error>(listener)
        };
        let listener = tokio::time::timeout(CALL_TIMEOUT, listen).await;
        let mut listener = listener.map_err(|_| cause(TimedOut))?.map_err(cause)?;
        ears.connected();
        // `None` is a connection that was lost.
        while let Some(message) = listener.try_recv().await.map_err(cause)? {
            ears.heard(message.payload());
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Self::Connection, Cause> {
        let mut connection = PgConnection::connect(&self.url).await.map_err(cause)?;
        // A NOTIFY is a commit, and all others would wait until the disk has it. A wake-up that a
        // power cut takes with it is no loss.
        let relaxed = sqlx::query("SET synchronous_commit = off").execute(&mut connection).await;
        relaxed.map(|_| connection).map_err(cause)
    }

    async fn send(&self, connection: &mut Self::Connection, message: &str) -> Result<(), Cause> {
        let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(message);
        notify.execute(connection).await.map(|_| ()).map_err(cause)
    }
}

fn cause(error: impl std::error::Error + Send + Sync + 'static) -> Cause {
    Arc::new(error)
}
