//! A process that never outlives the one that started it, however that one ends.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};

use super::tally;

/// How long a process may take to die, in looks of [`LOOK`].
const LOOKS_MAX: u32 = 3_000;
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// The first line says the process's pid. The end of the input kills it; the word `keep` before
/// that spares its directory.
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

/// A running process with a directory of its own, where its output goes to the file `log`. Dropping
/// it kills the process and removes the directory.
pub struct Supervised {
    program: String,
    dir: PathBuf,
    supervisor: Child,
    lifeline: Option<ChildStdin>,
    pid: u32,
}

impl Supervised {
    /// Starts `words` with these variables on top of our environment.
    ///
    /// # Panics
    /// When it cannot be started; a test cannot go on without it.
    pub fn start<W: AsRef<OsStr>>(dir: &Path, words: &[W], variables: &[(String, String)]) -> Self {
        let program = words.first().map_or_else(String::new, |word| {
            Path::new(word.as_ref()).file_name().unwrap_or_default().to_string_lossy().into()
        });
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(dir)
            .args(words)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start sh: {error}"));
        let (Some(lifeline), Some(stdout)) = (supervisor.stdin.take(), supervisor.stdout.take())
        else {
            panic!("the supervisor of {program} has no pipes");
        };
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let pid = line.trim().parse().ok().filter(|_| read.is_ok());
        let pid = pid.unwrap_or_else(|| panic!("{program} did not start"));
        Self { program, dir: dir.to_owned(), supervisor, lifeline: Some(lifeline), pid }
    }

    /// The process itself, for signals.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal, e.g. `STOP`, `CONT`, `TERM`, `KILL`.
    ///
    /// # Panics
    /// When there is no such process any more.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status();
        let sent = sent.is_ok_and(|status| status.success());
        assert!(sent, "cannot send {name} to {} ({})", self.program, self.pid);
        if name != "CONT" {
            tally(&format!("signal {name}"));
        }
    }

    /// The same to it and then to its children: PostgreSQL has one for each connection.
    ///
    /// # Panics
    /// When there is no such process any more.
    pub fn signal_family(&self, name: &str) {
        self.signal(name);
        let children = format!("/proc/{0}/task/{0}/children", self.pid);
        let children = std::fs::read_to_string(children).unwrap_or_default();
        // One that ended meanwhile needs no signal any more.
        let _ = Command::new("kill")
            .arg(format!("-{name}"))
            .args(children.split_whitespace())
            .stderr(Stdio::null())
            .status();
    }

    /// `kill -9`; returns when the process is gone.
    pub fn kill(&self) {
        self.signal("KILL");
        self.wait();
    }

    /// Blocks until the process is gone.
    ///
    /// # Panics
    /// When it takes more than a minute.
    pub fn wait(&self) {
        for _ in 0..LOOKS_MAX {
            if !self.is_alive() {
                return;
            }
            thread::sleep(LOOK);
        }
        panic!("{} does not end: {}", self.program, self.log_tail());
    }

    /// A zombie counts as gone once its last thread, and with it the last socket, is gone.
    pub fn is_alive(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
        let mut fields = fields.split(' ');
        let (state, threads) = (fields.next(), fields.nth(16));
        state != Some("Z") || threads.is_some_and(|threads| threads != "1" && threads != "0")
    }

    /// Whether SIGSTOP has reached all of its threads.
    pub fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid));
        threads.is_ok_and(|mut threads| {
            threads.all(|thread| {
                let stat =
                    thread.and_then(|thread| std::fs::read_to_string(thread.path().join("stat")));
                stat.is_ok_and(|stat| stat.contains(") T "))
            })
        })
    }

    /// All that it wrote.
    pub fn log(&self) -> String {
        std::fs::read(self.dir.join("log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// The last lines that it wrote.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Ends it, if it still runs, and keeps its directory.
    ///
    /// # Panics
    /// When the supervisor is gone, which means that the directory may be gone too.
    pub fn end_and_keep(mut self) {
        let told = self.lifeline.take().map(|mut lifeline| lifeline.write_all(b"keep\n"));
        let ended = self.supervisor.wait();
        let kept = matches!(told, Some(Ok(()))) && ended.is_ok();
        assert!(kept, "the supervisor of {} is lost", self.program);
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // Nothing to be done about a supervisor that cannot be waited for.
        let _ = self.supervisor.wait();
    }
}
