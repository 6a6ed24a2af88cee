//! `asyncflow hold`: GPUs for work by hand.

mod place;
mod wait;

pub use place::Place;

use crate::{
    connection::BrokerAddress,
    error::{CliError, Outcome, exit},
    follow,
    output::OutputArgs,
    size::parse_size,
    time,
    view::hold::HoldView,
};
use asyncflow_proto::v1::{Command, OptionalRetryPolicy, Resources, Task, TaskSpec};
use prost_types::Duration;
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// The type of tasks that hold GPUs.
const TASK_TYPE: &str = "hold";
/// The program ends by itself at its time; this limit is for one that does not.
const SLACK_S: i64 = 60;
/// Sleeps for `$1` seconds. Told to stop, it has done what it was for: that is no failure.
const SCRIPT: &str = "trap 'exit 0' TERM INT; sleep \"$1\" & wait \"$!\"";

/// Hold GPUs for work by hand, and print the environment to use them
///
/// It is a task as any other: it waits for its turn, counts for fair shares, and shows in lists.
/// While it runs nothing else is started on its GPUs, and what you start there is no stranger's.
/// It ends when its time is over, when its GPUs were idle for too long, or by `asyncflow task
/// cancel`. What you have started there then goes on; end it first. Ctrl-C while it waits for its
/// turn takes it back.
///
/// On the host that it names: `eval "$(asyncflow hold --gpus 1 --for 2h --on-host $(hostname))"`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many GPUs; nobody else gets them
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(1..=64))]
    gpus: i32,
    /// For how long
    #[arg(long = "for", value_name = "SPAN", value_parser = time::parse_span)]
    span: Duration,
    /// End it early when its GPUs were idle for so long; 0s = never
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span, default_value = "30m")]
    idle: Duration,
    /// Only a part of one GPU that others use too: so much of its memory
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with = "gpus",
          allow_negative_numbers = true)]
    gpu_memory: Option<i64>,
    /// Only GPUs whose model contains this
    #[arg(long, value_name = "TEXT")]
    gpu_model: Option<String>,
    /// Only on this host
    #[arg(long, value_name = "HOST")]
    on_host: Option<String>,
    /// What people call it
    #[arg(long, short = 'n', default_value = "")]
    name: String,
    /// Stay until it ends; Ctrl-C ends it
    #[arg(long)]
    attach: bool,
    #[command(flatten)]
    broker: BrokerAddress,
    #[command(flatten)]
    output: OutputArgs,
}

pub async fn execute(args: Args) -> Outcome {
    let spec = args.spec()?;
    let (broker, output) = (args.broker.open()?, args.output.open());
    let task = broker.client.create(spec).await.map_err(|error| broker.explain(error))?;
    crate::remark(&format!("{} created", task.id));
    let id = task.id.clone();
    let placed = async {
        let task = wait::until_running(&broker, task).await?;
        let place = place::find(&broker, &task).await?;
        Ok::<_, CliError>((task, place))
    };
    let (task, place) = tokio::select! {
        placed = placed => placed?,
        interrupt = interrupted() => {
            interrupt.map_err(unheard)?;
            let cancelled = broker.client.cancel(&id, "interrupted").await;
            cancelled.map_err(|error| broker.explain(error))?;
            crate::remark(&format!("{id} was taken back"));
            return Ok(exit::CANCELLED);
        }
    };
    let view = HoldView::new(&task, place, &args.span);
    if output.is_table() {
        view.exports().iter().try_for_each(|line| output.line(line))?;
    } else {
        output.one(&view)?;
    }
    args.tell(&view, &task);
    if args.attach { follow::follow(&broker, task).await } else { Ok(exit::OK) }
}

/// Ctrl-C, or what ends a program whose terminal or caller goes away: nobody would know of the
/// hold.
async fn interrupted() -> io::Result<()> {
    let (mut terminated, mut hung_up) =
        (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminated.recv() => Ok(()),
        _ = hung_up.recv() => Ok(()),
    }
}

fn unheard(error: io::Error) -> CliError {
    CliError::Failed(format!("cannot listen for signals: {error}"))
}

impl Args {
    fn spec(&self) -> Result<TaskSpec, CliError> {
        let seconds = self.span.seconds;
        if seconds < 1 {
            return Err(CliError::Usage("--for must be 1s or more".to_owned()));
        }
        if self.gpu_memory == Some(0) {
            return Err(CliError::Usage("--gpu-memory must be more than 0".to_owned()));
        }
        let words = ["-c", SCRIPT, "asyncflow-hold", &seconds.to_string()];
        let command = Command {
            program: "/bin/sh".to_owned(),
            args: words.map(str::to_owned).to_vec(),
            ..Command::default()
        };
        let is_idle_limited = self.idle.seconds > 0 || self.idle.nanos > 0;
        let resources = Resources {
            gpus: if self.gpu_memory.is_some() { 0 } else { self.gpus },
            gpu_memory_bytes: self.gpu_memory.unwrap_or_default(),
            gpu_model: self.gpu_model.clone().unwrap_or_default(),
            host: self.on_host.clone().unwrap_or_default(),
            interactive: true,
            gpu_idle_timeout: is_idle_limited.then_some(self.idle),
            ..Resources::default()
        };
        let retry = OptionalRetryPolicy { max_retries: Some(0), ..OptionalRetryPolicy::default() };
        Ok(TaskSpec {
            task_type: TASK_TYPE.to_owned(),
            name: self.name.clone(),
            command: Some(command),
            resources: Some(resources),
            retry: Some(retry),
            max_running_time: Some(Duration { seconds: seconds.saturating_add(SLACK_S), nanos: 0 }),
            ..TaskSpec::default()
        })
    }

    fn tell(&self, view: &HoldView, task: &Task) {
        crate::remark(&view.told());
        if self.idle.seconds > 0 || self.idle.nanos > 0 {
            let idle = time::span_for_people(&self.idle);
            crate::remark(&format!("it ends early when nothing was computed there for {idle}"));
        }
        crate::remark(&if self.attach {
            "Ctrl-C gives it back".to_owned()
        } else {
            format!("to give it back: asyncflow task cancel {}", task.id)
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn spec(words: &[&str]) -> TaskSpec {
        Line::try_parse_from([&["hold"], words].concat()).unwrap().args.spec().unwrap()
    }

    #[test]
    fn whole_gpus_or_a_part_of_one_are_asked_for() {
        let whole = spec(&["--gpus", "2", "--for", "2h"]);
        let resources = whole.resources.unwrap();
        assert_eq!((resources.gpus, resources.gpu_memory_bytes), (2, 0));
        assert!(resources.interactive);
        assert_eq!(resources.gpu_idle_timeout.unwrap().seconds, 1_800);
        assert_eq!(whole.max_running_time.unwrap().seconds, 7_260);
        assert_eq!(whole.command.unwrap().args[3], "7200");
        let part = spec(&["--gpu-memory", "10GiB", "--for", "1h", "--idle", "0s"]);
        let resources = part.resources.unwrap();
        assert_eq!((resources.gpus, resources.gpu_memory_bytes), (0, 10 << 30));
        assert_eq!(resources.gpu_idle_timeout, None);
    }

    #[test]
    fn the_program_ends_well_at_its_time_and_when_it_is_told_to_stop() {
        use std::process::Command;
        let sh = |seconds: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", SCRIPT, "asyncflow-hold", seconds]);
            command
        };
        assert!(sh("0.05").status().unwrap().success());
        let mut child = sh("300").spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        // A signal that comes before the trap is set kills it, as it would any program.
        let is_set = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        while !is_set().lines().any(catches) {
            std::thread::yield_now();
        }
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Whether this line of a status says that SIGTERM is caught.
    fn catches(line: &str) -> bool {
        let Some(mask) = line.strip_prefix("SigCgt:\t") else { return false };
        u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & (1 << 14) != 0)
    }
}
