//! What has to be called to end what the end of a process does not end, e.g. its container.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

const END_MAX: Duration = Duration::from_secs(30);

/// A program that is called when the attempt has ended, however it did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndCommand {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
}

impl EndCommand {
    /// Calls it and waits for its end. Blocks for up to 30 seconds.
    pub fn run(&self) {
        if let Err(error) = call(&self.words, &self.environment, END_MAX) {
            let program = self.words.first().map_or("", String::as_str);
            eprintln!("{program} cannot be called: {error}");
        }
    }
}

/// Calls a program with this environment and gives what it writes to stdout. Its end is taken for
/// that of its output: somebody else may wait for all children of this process. Blocks for up to
/// `limit`; then it is killed.
///
/// # Errors
/// It cannot be started, or does not end in time.
pub fn call(
    words: &[String],
    environment: &BTreeMap<String, String>,
    limit: Duration,
) -> io::Result<Vec<u8>> {
    let Some((program, args)) = words.split_first() else { return Ok(Vec::new()) };
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(environment);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let Some(mut stdout) = child.stdout.take() else { return Ok(Vec::new()) };
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        let mut told = Vec::new();
        let _ = stdout.read_to_end(&mut told);
        let _ = sender.send(told);
    });
    let Ok(told) = ended.recv_timeout(limit) else {
        let _ = child.kill();
        // Its end may take long, if it hangs in the kernel.
        thread::spawn(move || child.wait());
        return Err(io::ErrorKind::TimedOut.into());
    };
    let _ = child.wait();
    Ok(told)
}
