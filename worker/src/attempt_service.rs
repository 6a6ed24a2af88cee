//! AttemptService: what running tasks call, on one Unix socket per worker, by gRPC or as JSON over
//! HTTP/1.1.

mod rpc;

use std::{
    collections::HashMap,
    fs::DirBuilder,
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use asyncflow_proto::FILE_DESCRIPTOR_SET;
use asyncflow_sdk::{
    v1::{Content, HandOverAttemptRequest, WaitFor, attempt_service_server::AttemptServiceServer},
    worker::{AttemptHandle, HandOver},
};
use asyncflow_service::transcode::{Browsers, HttpApi, HttpApiError, TranscodeLayer};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{adoption, events::FailureNote};

struct Entry {
    attempt: AttemptHandle,
    result: Mutex<Option<Content>>,
    wait_for: Mutex<Option<Result<WaitFor, String>>>,
    hand_over: Mutex<Option<HandOver>>,
    /// Of the events file alone, which a later worker reads again.
    failure: Mutex<Option<FailureNote>>,
    /// Where what is set by the socket is kept for a later worker.
    dir: OnceLock<PathBuf>,
}

const RESULT_FILE: &str = "result.pb";
const WAIT_FILE: &str = "wait.pb";
const HAND_OVER_FILE: &str = "hand_over.pb";

/// The longest path of a Unix socket on Linux, in bytes: `sun_path` without its final NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Tonic's own limit of a message.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The calls of a running task as JSON over HTTP.
///
/// # Errors
/// When the annotations of the .proto files are wrong, which a test excludes.
pub fn http_api() -> Result<HttpApi, HttpApiError> {
    HttpApi::new(FILE_DESCRIPTOR_SET, &["asyncflow.v1.AttemptService"])
}

/// Knows the running attempts by their tokens.
pub struct AttemptDesk {
    socket: PathBuf,
    /// Made for the socket alone, removed with the desk.
    own_dir: Option<PathBuf>,
    entries: Mutex<HashMap<String, Arc<Entry>>>,
}

impl AttemptDesk {
    /// Takes `socket`, a path in a directory that only this process uses; what a killed one left
    /// there is removed. A path that is too long for a socket is replaced by one in a directory of
    /// the system's place for temporary files, which is the same for all workers of this mark: what
    /// runs on after one of them calls the next.
    ///
    /// # Errors
    /// The old socket cannot be removed; the directory cannot be made, or is somebody else's.
    pub fn open(socket: PathBuf, mark: &str) -> io::Result<Self> {
        let entries = Mutex::default();
        if socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
            return match std::fs::remove_file(&socket) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(Self { socket, own_dir: None, entries }),
            };
        }
        let own_dir = std::env::temp_dir().join(format!("asyncflow-{mark:.12}"));
        make_own_dir(&own_dir)?;
        let socket = own_dir.join("attempt.sock");
        let _ = std::fs::remove_file(&socket);
        Ok(Self { socket, own_dir: Some(own_dir), entries })
    }

    /// Makes the socket. Programs may connect from now on, and are answered by [`Self::serve`].
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen(&self) -> io::Result<UnixListener> {
        UnixListener::bind(&self.socket)
    }

    /// Serves until `stop` is cancelled.
    ///
    /// # Errors
    /// The server fails.
    pub async fn serve(
        self: Arc<Self>,
        listener: UnixListener,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let api = http_api().map_err(io::Error::other)?;
        // No page reaches a Unix socket.
        let http = TranscodeLayer::new(api, Browsers::default(), MESSAGE_BYTES_MAX);
        tonic::transport::Server::builder()
            .accept_http1(true)
            .layer(http)
            .add_service(AttemptServiceServer::from_arc(self))
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned())
            .await
            .map_err(io::Error::other)
    }

    /// Lets the attempt's programs call until the answer is dropped.
    pub fn register(self: &Arc<Self>, attempt: AttemptHandle) -> Registered {
        self.register_as(attempt, Uuid::new_v4().simple().to_string())
    }

    /// The same under the token that its programs have already.
    pub fn register_as(self: &Arc<Self>, attempt: AttemptHandle, token: String) -> Registered {
        let (result, wait_for, hand_over, failure, dir) = Default::default();
        let entry = Arc::new(Entry { attempt, result, wait_for, hand_over, failure, dir });
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

/// Makes it for this user alone, or takes the one that a former worker left.
fn make_own_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let found = std::fs::symlink_metadata(path)?;
    let is_private = found.permissions().mode().trailing_zeros() >= 6;
    if found.is_dir() && is_private && found.uid() == nix::unistd::getuid().as_raw() {
        return Ok(());
    }
    let message = format!("{} belongs to somebody else", path.display());
    Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
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

    /// From now on keeps what is set by the socket in the attempt's directory.
    pub fn keep_in(&self, dir: &Path) {
        let _ = self.entry.dir.set(dir.to_owned());
    }

    /// Sets again what a former worker kept there.
    pub fn recall(&self, dir: &Path) {
        if let Some(result) = adoption::kept_message(dir, RESULT_FILE) {
            self.set_result(result);
        }
        if let Some(wait_for) = adoption::kept_message(dir, WAIT_FILE) {
            self.set_wait_for(wait_for);
        }
        if let Some(said) = adoption::kept_message::<HandOverAttemptRequest>(dir, HAND_OVER_FILE) {
            self.set_hand_over(HandOver { context: said.context, message: said.message });
        }
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

    /// It says why it fails, if it then does; the last one wins.
    pub fn set_failure(&self, note: FailureNote) {
        *self.entry.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(note);
    }

    /// Takes what it said last of its failure.
    pub fn take_failure(&self) -> Option<FailureNote> {
        self.entry.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes the result that was set last.
    pub fn take_result(&self) -> Option<Content> {
        self.entry.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Entry {
    /// For a later worker, if it can be kept. When it is cancelled it may be kept, or not.
    async fn keep(&self, name: &'static str, message: impl prost::Message + 'static) {
        let Some(dir) = self.dir.get().cloned() else { return };
        let keeping = move || adoption::keep_message(&dir, name, &message);
        if let Err(error) = tokio::task::spawn_blocking(keeping).await {
            tracing::warn!(name, %error, "not kept for a later worker");
        }
    }

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

    use std::os::unix::fs::PermissionsExt;

    use super::{AttemptDesk, SOCKET_PATH_BYTES_MAX, http_api};

    #[test]
    fn what_a_killed_worker_left_is_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("attempt.sock");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(socket.exists());
        let desk = AttemptDesk::open(socket.clone(), "0123").unwrap();
        assert!(!socket.exists());
        drop(std::os::unix::net::UnixListener::bind(&desk.socket).unwrap());
        drop(desk);
        assert!(!socket.exists());
    }

    #[test]
    fn a_path_that_is_too_long_is_replaced_by_a_directory_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let long = dir.path().join("x".repeat(SOCKET_PATH_BYTES_MAX));
        let open = || AttemptDesk::open(long.clone(), &mark);
        let desk = open().unwrap();
        // What a killed worker left is taken over, unless others may write there.
        std::mem::forget(desk);
        let desk = open().unwrap();
        let place = desk.own_dir.clone().unwrap();
        std::mem::forget(desk);
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(open().is_err());
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o700)).unwrap();
        let desk = open().unwrap();
        let own_dir = desk.own_dir.clone().unwrap();
        assert!(desk.socket.starts_with(&own_dir) && own_dir.is_dir());
        drop(std::os::unix::net::UnixListener::bind(&desk.socket).unwrap());
        drop(desk);
        assert!(!own_dir.exists());
    }

    #[test]
    fn every_call_can_be_made_over_http_and_the_document_is_fresh() {
        let api = http_api().unwrap();
        assert_eq!(api.calls_without_route(), [""; 0]);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi-attempt.json");
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(path, api.document()).unwrap();
        }
        let committed = std::fs::read(path).unwrap_or_default();
        let hint = "run: UPDATE_GENERATED=1 cargo test -p asyncflow-worker --lib document";
        assert!(committed == api.document(), "{path} is not what the .proto files say; {hint}");
    }
}
