//! The processes of an attempt in a container. Its engine has started them, outside of the tree
//! and the control group of the attempt's shim, and knows which they are.

use std::time::Duration;

use crate::{
    gpu::Attempt,
    process::{EndCommand, EnvVariable, Leaf, Load, ProcessRecord, call, load_of_tree},
};

const ASK_MAX: Duration = Duration::from_secs(5);

/// Where a container's processes are found.
#[derive(Debug)]
pub struct Inside {
    /// The first of them.
    first: ProcessRecord,
    /// Their control group, if it can be read here.
    group: Option<Leaf>,
}

impl Inside {
    /// Asks the engine; blocks for up to five seconds. `None` if it does not say, or if what it
    /// names is no process of the attempt: an engine may run on another host.
    pub fn find(key: &Attempt, end_command: &EndCommand) -> Option<Self> {
        let [engine, verb, _, name] = &end_command.words[..] else { return None };
        if verb != "rm" {
            return None;
        }
        let format = "{{.Id}} {{.State.Pid}}";
        let words = [engine, "inspect", "--format", format, name].map(str::to_owned);
        let told = call(&words, &end_command.environment, ASK_MAX).ok()?;
        let told = String::from_utf8(told).ok()?;
        let (id, pid) = told.trim().split_once(' ')?;
        let pid = pid.parse().ok().filter(|pid| *pid > 1)?;
        let first = ProcessRecord::of(pid)?;
        let group = Leaf::of_process(pid, id);
        (group.is_some() || is_of(pid, key)).then_some(Self { first, group })
    }

    /// What they use; `None` when the first has ended.
    pub fn load(&self) -> Option<Load> {
        let load = || self.group.as_ref().and_then(Leaf::load);
        let is_alive = self.first.is_alive();
        is_alive.then(|| load().unwrap_or_else(|| load_of_tree(self.first.pid, true)))
    }
}

fn is_of(pid: i32, key: &Attempt) -> bool {
    let task = EnvVariable::new("ASYNCFLOW_TASK_ID", &key.task_id);
    let attempt = EnvVariable::new("ASYNCFLOW_ATTEMPT", &key.attempt.to_string());
    task.is_carried_by(pid) && attempt.is_carried_by(pid)
}
