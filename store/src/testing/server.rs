//! One server process with its directory, under a supervisor that outlives nobody.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

/// How long a server may take to accept connections, in looks of [`LOOK`].
const LOOKS_MAX: u32 = 1_500;
const LOOK: Duration = Duration::from_millis(20);

/// What a commit means on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As in production: on disk when COMMIT answers. For benchmarks and power-cut tests.
    Full,
    /// Survives kill -9 of the server, not a power cut. For everything else.
    Process,
}

/// How a kind of server is made and reached.
pub(super) struct Recipe {
    pub program: &'static str,
    /// The command line; `{dir}` and `{port}` stand for the directory and the port.
    pub command: Vec<String>,
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
    supervisor: Child,
    lifeline: Option<ChildStdin>,
    pid: u32,
    names: AtomicU32,
}

impl Server {
    pub(super) fn start(recipe: Recipe, dir: &Path) -> Self {
        let port = free_port();
        let (supervisor, lifeline, pid) = launch(&recipe, dir, port);
        let names = AtomicU32::new(0);
        let dir = dir.to_owned();
        let mut server =
            Self { recipe, dir, port, supervisor, lifeline: Some(lifeline), pid, names };
        server.wait_until_it_listens();
        server
    }

    /// The address to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server itself, for signals.
    pub fn pid(&self) -> u32 {
        self.pid
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

    /// Sends a signal, e.g. `STOP`, `CONT`, `KILL`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send {name} to {}", self.pid);
    }

    /// `kill -9`; the directory stays. Returns when the process is gone.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.wait_until_it_is_gone();
    }

    /// Starts it again on the same directory and port.
    pub fn restart(&mut self) {
        let told = self.lifeline.take().map(|mut lifeline| lifeline.write_all(b"keep\n"));
        let ended = self.supervisor.wait();
        assert!(
            matches!(told, Some(Ok(()))) && ended.is_ok(),
            "the supervisor of {} is lost",
            self.program()
        );
        let (supervisor, lifeline, pid) = launch(&self.recipe, &self.dir, self.port);
        self.supervisor = supervisor;
        self.lifeline = Some(lifeline);
        self.pid = pid;
        self.wait_until_it_listens();
    }

    fn wait_until_it_listens(&mut self) {
        for _ in 0..LOOKS_MAX {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return;
            }
            let ended = matches!(self.supervisor.try_wait(), Ok(Some(_)));
            assert!(!ended && self.is_alive(), "{} ended: {}", self.program(), self.log_tail());
            thread::sleep(LOOK);
        }
        panic!("{} does not listen: {}", self.program(), self.log_tail());
    }

    fn wait_until_it_is_gone(&self) {
        for _ in 0..LOOKS_MAX {
            if !self.is_alive() {
                return;
            }
            thread::sleep(LOOK);
        }
        panic!("{} does not die", self.program());
    }

    /// A zombie counts as gone.
    fn is_alive(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // Nothing to be done about a supervisor that cannot be waited for.
        let _ = self.supervisor.wait();
    }
}

/// The first line says the server's pid; then it waits for the end of its input, or for the word that
/// the directory is still needed.
const SUPERVISOR: &str = r#"dir=$1; shift
trap '' INT HUP
"$@" </dev/null >>"$dir/log" 2>&1 &
pid=$!
echo $pid
read -r word
kill -KILL $pid 2>/dev/null
wait $pid 2>/dev/null
[ "$word" = keep ] || rm -rf "$dir"
exit 0"#;

fn launch(recipe: &Recipe, dir: &Path, port: u16) -> (Child, ChildStdin, u32) {
    let fill = |part: &String| {
        part.replace("{dir}", &dir.to_string_lossy()).replace("{port}", &port.to_string())
    };
    let mut supervisor = Command::new("sh")
        .args(["-c", SUPERVISOR, "supervisor"])
        .arg(dir)
        .args(recipe.command.iter().map(fill))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start sh: {error}"));
    let (Some(lifeline), Some(stdout)) = (supervisor.stdin.take(), supervisor.stdout.take()) else {
        panic!("the supervisor of {} has no pipes", recipe.program);
    };
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line);
    let pid = line.trim().parse().ok().filter(|_| read.is_ok());
    (supervisor, lifeline, pid.unwrap_or_else(|| panic!("{} did not start", recipe.program)))
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .unwrap_or_else(|error| panic!("no free port: {error}"))
}

/// A directory that the server's own user can enter, unlike the 0700 of a plain temporary one.
pub(super) fn server_dir(kind: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix(&format!("asyncflow-{kind}-"))
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap_or_else(|error| panic!("no temporary directory: {error}"))
        .keep()
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
