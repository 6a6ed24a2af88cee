//! Sessions of workers: a short cache of what they registered.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use asyncflow_core::{event::Fence, id::TypeName};
use asyncflow_store::{Store, WorkerRow};
use tokio::time::Instant;

use crate::{
    clock,
    dispatch::{CommandTypes, Types},
    error::RpcError,
    lookups::Lookups,
};

/// A session that was read is trusted this long; writes are fenced by the database anyway.
const CACHE_MAX_AGE: Duration = Duration::from_secs(5);
/// The cache is swept when it has grown beyond this.
const CACHE_MAX: usize = 10_000;
/// "Every type" in a registration.
pub const EVERY_TYPE: &str = "*";

/// One registration of one incarnation of a worker.
#[derive(Debug)]
pub struct Session {
    pub id: i64,
    pub worker_id: String,
    /// Where it runs.
    pub host: String,
    pub labels: BTreeMap<String, String>,
    pub types: Types,
    /// An order says that it gets no more tasks.
    pub is_closed: bool,
}

impl Session {
    fn new(row: WorkerRow, command_types: &Arc<CommandTypes>) -> Self {
        let names = &row.registration.task_types;
        let types = if names.iter().any(|name| name == EVERY_TYPE) {
            Types::Every
        } else {
            let checked = names.iter().filter_map(|name| TypeName::new(name).ok());
            Types::These {
                names: checked.collect::<HashSet<_>>(),
                commands: row.registration.takes_commands.then(|| Arc::clone(command_types)),
            }
        };
        let host = row.host().to_owned();
        Self {
            id: row.session_id,
            is_closed: row.is_closed,
            worker_id: row.registration.worker_id,
            host,
            labels: row.registration.labels,
            types,
        }
    }

    /// What its writes about an attempt carry.
    pub fn fence(&self, attempt: i32) -> Fence {
        Fence { attempt, session_id: self.id }
    }
}

/// Knows sessions by the text that workers give.
pub struct Sessions {
    store: Store,
    /// Turns of their own: heartbeats must not wait behind looks at many tasks.
    lookups: Lookups,
    cache: Mutex<HashMap<i64, (Instant, Arc<Session>)>>,
    command_types: Arc<CommandTypes>,
}

impl Sessions {
    pub fn new(store: Store, command_types: Arc<CommandTypes>) -> Self {
        Self { store, lookups: Lookups::default(), cache: Mutex::default(), command_types }
    }

    /// The session behind a text.
    ///
    /// # Errors
    /// `UnknownSession` when it is malformed or not in force (any more).
    pub async fn get(&self, text: &str) -> Result<Arc<Session>, RpcError> {
        self.by_id(parse(text).ok_or(RpcError::UnknownSession)?).await
    }

    /// The session with this number.
    ///
    /// # Errors
    /// `UnknownSession` when it is not in force (any more).
    pub async fn by_id(&self, id: i64) -> Result<Arc<Session>, RpcError> {
        if let Some(session) = self.cached(id) {
            return Ok(session);
        }
        let row = self
            .lookups
            .take_turn(self.store.get_session(id))
            .await?
            .ok_or(RpcError::UnknownSession)?;
        let session = Arc::new(Session::new(row, &self.command_types));
        let now = clock::now();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_MAX {
            cache.retain(|_, (read, _)| now - *read < CACHE_MAX_AGE);
        }
        cache.insert(id, (now, Arc::clone(&session)));
        Ok(session)
    }

    fn cached(&self, id: i64) -> Option<Arc<Session>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, session) = cache.get(&id)?;
        (clock::now() - *read < CACHE_MAX_AGE).then(|| Arc::clone(session))
    }

    /// The session has ended.
    pub fn forget(&self, id: i64) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// The text of a session: its random number of 63 bits.
pub fn format(id: i64) -> String {
    format!("s{id:016x}")
}

fn parse(text: &str) -> Option<i64> {
    let id = i64::from_str_radix(text.strip_prefix('s')?, 16).ok()?;
    (format(id) == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_print_is_a_session() {
        assert_eq!(parse(&format(42)), Some(42));
        for foreign in ["", "s", "42", "s+000000000000042", "s2A", "s000000000000002A"] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
