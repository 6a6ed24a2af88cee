//! One database server on a port of its own.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use tempfile::TempDir;

use super::{
    small_disk::SmallDisk,
    supervised::{LOOK, Supervised},
};

/// Below the range of Linux for connections, which begins at 32,768.
const PORTS_FIRST: u32 = 12_000;
const PORTS_LEN: u32 = 20_000;
/// Processes that follow each other begin so far apart.
const PORTS_APART: u32 = 211;
/// How long a server may take to accept connections, in looks of [`LOOK`].
const LOOKS_MAX: u32 = 1_500;

/// What a commit means on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As in production: on disk when COMMIT answers. For benchmarks.
    Full,
    /// Survives kill -9 of the server, not a power cut. For everything else.
    Process,
}

/// How a kind of server is made and reached.
pub(super) struct Recipe {
    pub program: &'static str,
    /// The command line; `{dir}` and `{port}` stand for the directory and the port.
    pub command: Vec<String>,
    /// On top of our own environment.
    pub variables: Vec<(String, String)>,
    /// `{port}` and `{db}` stand for the port and the name of a database.
    pub url: &'static str,
    /// The database that always exists.
    pub admin_database: &'static str,
}

/// A running server. Dropping it kills the server and removes its directory.
pub struct Server {
    recipe: Recipe,
    dir: PathBuf,
    port: u16,
    /// `None` only while it is restarted.
    process: Option<Supervised>,
    names: AtomicU32,
}

impl Server {
    pub(super) fn start(recipe: Recipe, dir: &Path) -> Self {
        let (dir, port) = (dir.to_owned(), free_port());
        let mut server = Self { recipe, dir, port, process: None, names: AtomicU32::new(0) };
        server.launch();
        server
    }

    fn launch(&mut self) {
        let fill = |part: &String| {
            let dir = self.dir.to_string_lossy();
            part.replace("{dir}", &dir).replace("{port}", &self.port.to_string())
        };
        let words: Vec<String> = self.recipe.command.iter().map(fill).collect();
        let process =
            self.process.insert(Supervised::start(&self.dir, &words, &self.recipe.variables));
        for _ in 0..LOOKS_MAX {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return;
            }
            assert!(process.is_alive(), "{} ended: {}", self.recipe.program, process.log_tail());
            thread::sleep(LOOK);
        }
        panic!("{} does not listen: {}", self.recipe.program, process.log_tail());
    }

    /// Where it keeps its databases.
    pub fn data_folder(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, to be stopped, continued or killed; its directory stays.
    ///
    /// # Panics
    /// Never: it is only away inside of [`restart`](Self::restart).
    pub fn process(&self) -> &Supervised {
        self.process.as_ref().unwrap_or_else(|| panic!("{} is away", self.recipe.program))
    }

    /// The name of the program.
    pub fn program(&self) -> &'static str {
        self.recipe.program
    }

    /// The URL of a database on this server.
    pub fn database_url(&self, database: &str) -> String {
        self.recipe.url.replace("{port}", &self.port.to_string()).replace("{db}", database)
    }

    /// The URL of the database that always exists.
    pub fn admin_url(&self) -> String {
        self.database_url(self.recipe.admin_database)
    }

    pub(super) fn next_name(&self) -> String {
        format!("af_{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Ends it, if it still runs, and starts it again on the same directory and port.
    pub fn restart(&mut self) {
        if let Some(process) = self.process.take() {
            process.end_and_keep();
        }
        self.launch();
    }
}

/// A port that was free a moment ago, and that this process gives to nobody else: a server that is
/// killed and comes back finds it free again. It is none of those that the system gives to whoever
/// connects somewhere.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(PORTS_APART);
    let port = |_| {
        let number = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % PORTS_LEN;
        u16::try_from(PORTS_FIRST + number).ok()
    };
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let found = (0..PORTS_LEN).filter_map(port).find(is_free);
    found.unwrap_or_else(|| panic!("no free port from {PORTS_FIRST} on"))
}

/// The directory of a server, which removes it.
pub(super) fn server_dir(kind: &str) -> PathBuf {
    open_dir(kind).keep()
}

/// Sees to it that a server that works in `dir` has its data on the disk; returns where. Its log
/// and what is temporary stay outside.
pub(super) fn data_on(disk: &SmallDisk, dir: &Path) -> PathBuf {
    let data = disk.path().join("data");
    let made = std::fs::create_dir(&data);
    let made = made.and_then(|()| std::os::unix::fs::symlink(&data, dir.join("data")));
    assert!(made.is_ok(), "no data folder on {}: {made:?}", disk.path().display());
    data
}

/// A directory that a server's own user can enter, unlike the 0700 of a plain temporary one.
pub(super) fn open_dir(kind: &str) -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix(&format!("asyncflow-{kind}-"))
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap_or_else(|error| panic!("no temporary directory: {error}"))
}

/// Runs a set-up command to its end.
pub(super) fn set_up(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot run {:?}: {error}; `make test` installs it", command.get_program())
    });
    assert!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The first of these that is a file, else the last (for the message of whoever executes it).
pub(super) fn find_program(candidates: &[&str]) -> String {
    let found = candidates.iter().find(|path| Path::new(path).is_file());
    found.or(candidates.last()).map(ToString::to_string).unwrap_or_default()
}
