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
const SAID_BYTES_MAX: usize = 512;
/// Somebody else may wait for all children of this process, so its exit code comes by its output.
const WITH_CODE: &str = r#""$@" 2>&1; echo " $?""#;
/// What engines say of a container that is gone, or just goes.
const GONE: [&str; 2] = ["no such container", "already in progress"];

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
    ///
    /// # Errors
    /// It fails, other than because there is nothing to be ended, or does not end; for people.
    pub fn run(&self) -> Result<(), String> {
        if self.words.is_empty() {
            return Ok(());
        }
        let called = self.words.join(" ");
        let shell = ["/bin/sh", "-c", WITH_CODE, "sh"].map(str::to_owned);
        let words: Vec<String> = shell.into_iter().chain(self.words.iter().cloned()).collect();
        let said =
            call(&words, &self.environment, END_MAX).map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => format!("{called} has not ended within {END_MAX:?}"),
                _ => format!("{called} cannot be called: {error}"),
            })?;
        judge(&String::from_utf8_lossy(&said)).map_err(|why| format!("{called}: {why}"))
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

fn judge(said: &str) -> Result<(), String> {
    let (words, code) = said.trim_end().rsplit_once(' ').unwrap_or((said, "?"));
    let words = words.trim();
    let lower = words.to_ascii_lowercase();
    if code == "0" || GONE.iter().any(|gone| lower.contains(gone)) {
        return Ok(());
    }
    let start = words.floor_char_boundary(words.len().saturating_sub(SAID_BYTES_MAX));
    Err(format!("exit code {code}: {}", words.get(start..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::EndCommand;

    fn run(script: &str) -> Result<(), String> {
        let words = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        EndCommand { words, ..EndCommand::default() }.run()
    }

    #[test]
    fn it_is_told_when_nothing_was_ended() {
        assert_eq!(run("echo name"), Ok(()));
        assert_eq!(run("echo 'Error: No such container: a' >&2; exit 1"), Ok(()), "it is gone");
        let why = run("echo cannot connect to the daemon >&2; exit 125").err().unwrap_or_default();
        assert!(why.ends_with("exit code 125: cannot connect to the daemon"), "{why}");
        let words = vec!["/no/such/docker".to_owned()];
        let why = EndCommand { words, ..EndCommand::default() }.run().err().unwrap_or_default();
        assert!(why.starts_with("/no/such/docker: exit code 127"), "{why}");
    }
}
