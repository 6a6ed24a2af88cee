//! Processes of the `asyncflow` binary.

use std::path::{Path, PathBuf};

use asyncflow_store::{fault, testing::Supervised};

use crate::Faults;

/// The binary that was built with these tests.
///
/// # Panics
/// When it was not built.
pub fn asyncflow() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let profile = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let binary = profile.join("asyncflow");
    assert!(binary.is_file(), "{} is missing: cargo build --workspace --bins", binary.display());
    binary
}

/// Names the binary of another release.
const OLDER_VARIABLE: &str = "ASYNCFLOW_TEST_OLDER";

/// The binary of the `n`-th process of a role: every second one is of another release, where
/// `ASYNCFLOW_TEST_OLDER` names one, so that a test sees the two side by side.
///
/// # Panics
/// As [`asyncflow`].
pub fn asyncflow_or_older(n: usize) -> PathBuf {
    let older = std::env::var_os(OLDER_VARIABLE).filter(|_| n % 2 == 1);
    older.map_or_else(asyncflow, PathBuf::from)
}

/// One process, which can be killed and started again with the same settings.
pub struct Program {
    words: Vec<String>,
    variables: Vec<(String, String)>,
    dir: PathBuf,
    process: Option<Supervised>,
}

impl Program {
    /// Starts `<asyncflow> <subcommand>` with these settings; its log goes to `dir`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(
        asyncflow: &Path,
        subcommand: &str,
        mut variables: Vec<(String, String)>,
        dir: PathBuf,
    ) -> Self {
        let words = vec![asyncflow.display().to_string(), subcommand.to_owned()];
        let faults = Faults::of(&dir).dir().display().to_string();
        variables.push((fault::DIR_VARIABLE.to_owned(), faults));
        let mut program = Self { words, variables, dir, process: None };
        program.launch();
        program
    }

    fn launch(&mut self) {
        let made = std::fs::create_dir_all(self.faults().dir());
        assert!(made.is_ok(), "cannot make {}", self.dir.display());
        self.process = Some(Supervised::start(&self.dir, &self.words, &self.variables));
    }

    /// The process, for signals and its log.
    ///
    /// # Panics
    /// When it is down.
    pub fn process(&self) -> &Supervised {
        let name = self.dir.display();
        self.process.as_ref().unwrap_or_else(|| panic!("{name} is not running"))
    }

    /// Where it can be stopped, and what it can be made to do wrong.
    pub fn faults(&self) -> Faults {
        Faults::of(&self.dir)
    }

    /// `kill -9`; returns when it is gone. Its directory stays.
    pub fn kill(&mut self) {
        self.process().kill();
        self.down();
    }

    /// SIGTERM; returns when it has ended by itself. Its directory stays.
    pub fn terminate(&mut self) {
        self.process().signal("TERM");
        self.process().wait();
        self.down();
    }

    /// The last lines of its log, under its name; empty when it is down.
    pub fn log_tail(&self) -> String {
        let log = self.process.as_ref().map(Supervised::log_tail).unwrap_or_default();
        format!("--- {}\n{log}", self.dir.display())
    }

    /// Its directory's name, e.g. `broker-0`.
    pub fn name(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// All that it has written, over its restarts.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn down(&mut self) {
        if let Some(process) = self.process.take() {
            process.end_and_keep();
        }
    }

    /// Starts it again after [`kill`](Self::kill) or [`terminate`](Self::terminate).
    pub fn restart(&mut self) {
        self.down();
        self.launch();
    }
}
