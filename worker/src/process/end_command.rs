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

/// A program that is called when the attempt has ended, however it did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndCommand {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
}

impl EndCommand {
    /// Calls it and waits for its end, which is taken for that of its output: somebody else may
    /// wait for all children of this process. Blocks for up to 30 seconds.
    pub fn run(&self) {
        let Some((program, args)) = self.words.split_first() else { return };
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(&self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return eprintln!("{program} cannot be called: {error}"),
        };
        let Some(mut stdout) = child.stdout.take() else { return };
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            let _ = stdout.read_to_end(&mut Vec::new());
            let _ = sender.send(());
        });
        match ended.recv_timeout(END_MAX) {
            Ok(()) => drop(child.wait()),
            Err(_) => drop(child.kill()),
        }
    }
}
