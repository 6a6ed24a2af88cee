//! AttemptService: what running tasks call, on one Unix socket per worker.

mod rpc;

use std::{
    collections::HashMap,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use asyncflow_sdk::{
    v1::{Content, attempt_service_server::AttemptServiceServer},
    worker::AttemptHandle,
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

struct Entry {
    attempt: AttemptHandle,
    result: Mutex<Option<Content>>,
}

/// Knows the running attempts by their tokens.
pub struct AttemptDesk {
    socket_dir: PathBuf,
    entries: Mutex<HashMap<String, Arc<Entry>>>,
}

impl AttemptDesk {
    /// Makes the socket's directory, for this user only. It lies in the system's directory for
    /// temporary files, because a socket's path may have 107 bytes at most.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open() -> io::Result<Self> {
        let name = format!("asyncflow-{:.12}", Uuid::new_v4().simple().to_string());
        let socket_dir = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&socket_dir)?;
        Ok(Self { socket_dir, entries: Mutex::default() })
    }

    fn socket(&self) -> PathBuf {
        self.socket_dir.join("attempt.sock")
    }

    /// Serves until `stop` is cancelled.
    ///
    /// # Errors
    /// The socket cannot be made, or the server fails.
    pub async fn serve(self: Arc<Self>, stop: CancellationToken) -> io::Result<()> {
        let listener = UnixListener::bind(self.socket())?;
        tonic::transport::Server::builder()
            .add_service(AttemptServiceServer::from_arc(self))
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned())
            .await
            .map_err(io::Error::other)
    }

    /// Lets the attempt's programs call until the answer is dropped.
    pub fn register(self: &Arc<Self>, attempt: AttemptHandle) -> Registered {
        let token = Uuid::new_v4().simple().to_string();
        let entry = Arc::new(Entry { attempt, result: Mutex::default() });
        self.with(|entries| entries.insert(token.clone(), entry.clone()));
        Registered { desk: self.clone(), socket: self.socket(), token, entry }
    }

    fn with<T>(&self, run: impl FnOnce(&mut HashMap<String, Arc<Entry>>) -> T) -> T {
        run(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, token: &str) -> Option<Arc<Entry>> {
        self.with(|entries| entries.get(token).cloned())
    }
}

impl Drop for AttemptDesk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.socket_dir);
    }
}

/// An attempt whose programs may call.
pub struct Registered {
    desk: Arc<AttemptDesk>,
    socket: PathBuf,
    token: String,
    entry: Arc<Entry>,
}

impl Registered {
    /// What its programs identify themselves with; unique for every attempt.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where they call.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sets the result that counts if the program exits with 0; the last one wins.
    pub fn set_result(&self, result: Content) {
        self.entry.set_result(result);
    }

    /// Takes the result that was set last.
    pub fn take_result(&self) -> Option<Content> {
        self.entry.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Entry {
    fn set_result(&self, result: Content) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.desk.with(|entries| entries.remove(&self.token));
    }
}
