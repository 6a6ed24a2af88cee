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
    v1::{Content, WaitFor, attempt_service_server::AttemptServiceServer},
    worker::{AttemptHandle, HandOver},
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

struct Entry {
    attempt: AttemptHandle,
    result: Mutex<Option<Content>>,
    wait_for: Mutex<Option<Result<WaitFor, String>>>,
    hand_over: Mutex<Option<HandOver>>,
}

/// The longest path of a Unix socket on Linux, in bytes: `sun_path` without its final NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Knows the running attempts by their tokens.
pub struct AttemptDesk {
    socket: PathBuf,
    /// Made for the socket alone, removed with the desk.
    own_dir: Option<PathBuf>,
    entries: Mutex<HashMap<String, Arc<Entry>>>,
}

impl AttemptDesk {
    /// Takes `socket`, a path in a directory that only this process uses; what a killed one left
    /// there is removed. A path that is too long for a socket is replaced by one in a fresh
    /// directory of the system's place for temporary files.
    ///
    /// # Errors
    /// The old socket cannot be removed, or the directory cannot be made.
    pub fn open(socket: PathBuf) -> io::Result<Self> {
        let entries = Mutex::default();
        if socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
            return match std::fs::remove_file(&socket) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(Self { socket, own_dir: None, entries }),
            };
        }
        let name = format!("asyncflow-{:.12}", Uuid::new_v4().simple().to_string());
        let own_dir = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&own_dir)?;
        Ok(Self { socket: own_dir.join("attempt.sock"), own_dir: Some(own_dir), entries })
    }

    /// Serves until `stop` is cancelled.
    ///
    /// # Errors
    /// The socket cannot be made, or the server fails.
    pub async fn serve(self: Arc<Self>, stop: CancellationToken) -> io::Result<()> {
        let listener = UnixListener::bind(&self.socket)?;
        tonic::transport::Server::builder()
            .add_service(AttemptServiceServer::from_arc(self))
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned())
            .await
            .map_err(io::Error::other)
    }

    /// Lets the attempt's programs call until the answer is dropped.
    pub fn register(self: &Arc<Self>, attempt: AttemptHandle) -> Registered {
        let token = Uuid::new_v4().simple().to_string();
        let (result, wait_for, hand_over) = Default::default();
        let entry = Arc::new(Entry { attempt, result, wait_for, hand_over });
        self.with(|entries| entries.insert(token.clone(), entry.clone()));
        Registered { desk: self.clone(), socket: self.socket.clone(), token, entry }
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
        let _ = match &self.own_dir {
            Some(own_dir) => std::fs::remove_dir_all(own_dir),
            None => std::fs::remove_file(&self.socket),
        };
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

    /// Sets what it waits for if the program exits with 85; the last one wins.
    pub fn set_wait_for(&self, wait_for: WaitFor) {
        self.entry.set_wait_for(Ok(wait_for));
    }

    /// It tried to, and this was wrong with it.
    pub fn set_bad_wait(&self, problem: String) {
        self.entry.set_wait_for(Err(problem));
    }

    /// Takes what it waits for if the program exits with 85, as it was set last.
    pub fn take_wait_for(&self) -> Option<Result<WaitFor, String>> {
        self.entry.wait_for.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// It gives itself away when the program exits; the last one wins.
    pub fn set_hand_over(&self, hand_over: HandOver) {
        self.entry.set_hand_over(hand_over);
    }

    /// Takes what it said last about giving itself away.
    pub fn take_hand_over(&self) -> Option<HandOver> {
        self.entry.hand_over.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes the result that was set last.
    pub fn take_result(&self) -> Option<Content> {
        self.entry.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Entry {
    fn set_wait_for(&self, wait_for: Result<WaitFor, String>) {
        *self.wait_for.lock().unwrap_or_else(PoisonError::into_inner) = Some(wait_for);
    }

    fn set_hand_over(&self, hand_over: HandOver) {
        *self.hand_over.lock().unwrap_or_else(PoisonError::into_inner) = Some(hand_over);
    }

    fn set_result(&self, result: Content) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.desk.with(|entries| entries.remove(&self.token));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::{AttemptDesk, SOCKET_PATH_BYTES_MAX};

    #[test]
    fn what_a_killed_worker_left_is_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("attempt.sock");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(socket.exists());
        let desk = AttemptDesk::open(socket.clone()).unwrap();
        assert!(!socket.exists());
        drop(std::os::unix::net::UnixListener::bind(&desk.socket).unwrap());
        drop(desk);
        assert!(!socket.exists());
    }

    #[test]
    fn a_path_that_is_too_long_is_replaced_by_a_directory_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let desk = AttemptDesk::open(dir.path().join("x".repeat(SOCKET_PATH_BYTES_MAX))).unwrap();
        let own_dir = desk.own_dir.clone().unwrap();
        assert!(desk.socket.starts_with(&own_dir) && own_dir.is_dir());
        drop(std::os::unix::net::UnixListener::bind(&desk.socket).unwrap());
        drop(desk);
        assert!(!own_dir.exists());
    }
}
