//! What has to be called to end what the end of a process does not end, e.g. its container.

use std::{
    collections::BTreeMap,
    io::Read,
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
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WITH_CODE, "sh"]).args(&self.words);
        command.env_clear().envs(&self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let started = command.spawn();
        let mut child = started.map_err(|error| format!("{called} cannot be called: {error}"))?;
        let Some(mut stdout) = child.stdout.take() else { return Ok(()) };
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stdout.read_to_end(&mut said);
            let _ = sender.send(said);
        });
        let Ok(said) = ended.recv_timeout(END_MAX) else {
            let _ = child.kill();
            return Err(format!("{called} has not ended within {END_MAX:?}"));
        };
        let _ = child.wait();
        judge(&String::from_utf8_lossy(&said)).map_err(|why| format!("{called}: {why}"))
    }
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
