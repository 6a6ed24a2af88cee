//! What a shim decides while its program runs: the time limit, orders, the grace after them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::{launch::ShimLaunch, order::Order, record::Told, run::Event, usage::Usage};
use crate::{clock, process::Exit};

/// Looks at memory and orders this often, though nobody calls; the first time soon, for programs
/// that are quick.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// After KILL to the group; who is left then is left to the sweep.
const KILLED_MAX: Duration = Duration::from_secs(10);

/// Of one program.
pub struct Watch {
    dir: PathBuf,
    leader: Pid,
    /// When its time is over, since boot.
    time_over_at: Option<Duration>,
    time_over: Order,
    /// What it was told.
    order: Option<Order>,
    /// When its grace is over.
    kill_at: Option<Duration>,
    killed_at: Option<Duration>,
    /// Logs that have ended, and what was dropped of them.
    logged: (u32, u64),
}

impl Watch {
    /// The time limit begins now.
    pub fn new(dir: &Path, launch: &ShimLaunch, leader: i32) -> Self {
        let limit = launch.time_limit_ms.map(Duration::from_millis);
        let told =
            Told { reason: "timed_out".to_owned(), text: "max_running_time is over".to_owned() };
        let (grace_ms, signal) = (launch.grace_ms, launch.stop_signal);
        Self {
            dir: dir.to_owned(),
            leader: Pid::from_raw(leader),
            time_over_at: limit.map(|limit| clock::since_boot() + limit),
            time_over: Order { told, at_once: false, grace_ms, signal },
            order: None,
            kill_at: None,
            killed_at: None,
            logged: (0, 0),
        }
    }

    /// Why it was told to stop, if it was.
    pub fn told(&self) -> Option<Told> {
        self.order.as_ref().map(|order| order.told.clone())
    }

    /// Whether this process killed it.
    pub fn has_killed(&self) -> bool {
        self.killed_at.is_some()
    }

    /// Logs that have ended already, and what was dropped of them.
    pub fn logged(&self) -> (u32, u64) {
        self.logged
    }

    /// Waits for the end of the program, and sees to it; `None` if the system would not say.
    pub fn follow(&mut self, events: &Receiver<Event>, usage: &mut Usage) -> Option<Exit> {
        let mut look_at = clock::since_boot() + FIRST_LOOK;
        loop {
            self.follow_orders();
            let now = clock::since_boot();
            if now >= look_at {
                usage.look();
                look_at = now + LOOK_INTERVAL;
            }
            if self.killed_at.is_some_and(|at| now >= at + KILLED_MAX) {
                return None;
            }
            let dates = [self.time_over_at, self.kill_at, Some(look_at)];
            let next = dates.into_iter().flatten().min().unwrap_or(look_at);
            match events.recv_timeout(next.saturating_sub(now)) {
                Ok(Event::Ended(exit)) => return Some(exit),
                Ok(Event::Childless) | Err(RecvTimeoutError::Disconnected) => return None,
                Ok(Event::Logged(bytes)) => {
                    self.logged = (self.logged.0 + 1, self.logged.1 + bytes)
                }
                Ok(Event::Terminated) => self.stop_for_shutdown(),
                Ok(Event::Woken) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn follow_orders(&mut self) {
        let now = clock::since_boot();
        if let Some(order) = Order::read(&self.dir)
            && self.order.as_ref() != Some(&order)
            // Whose time is over ran too long, whatever he is told after that.
            && (order.at_once || self.order.as_ref() != Some(&self.time_over))
        {
            self.obey(order);
        }
        if self.time_over_at.is_some_and(|at| now >= at) {
            self.time_over_at = None;
            // Whoever was told to stop before has his grace already.
            if self.order.is_none() {
                self.obey(self.time_over.clone());
            }
        }
        if self.kill_at.is_some_and(|at| now >= at) {
            self.kill();
        }
    }

    /// The machine goes down, or somebody meant this process: the task is not to blame.
    fn stop_for_shutdown(&mut self) {
        if self.order.is_none() {
            let told = Told {
                reason: "drained".to_owned(),
                text: "the host ended the attempt's shim".to_owned(),
            };
            self.obey(Order { told, ..self.time_over.clone() });
        }
    }

    fn obey(&mut self, order: Order) {
        let is_first = self.order.is_none();
        if order.at_once {
            self.kill();
        } else if is_first {
            let _ = fs::write(self.dir.join("stop"), &order.told.text);
            self.signal(Signal::try_from(order.signal).unwrap_or(Signal::SIGTERM));
            let grace = Duration::from_millis(order.grace_ms);
            self.kill_at = Some(clock::since_boot() + grace);
        }
        self.order = Some(order);
    }

    fn kill(&mut self) {
        self.kill_at = None;
        self.killed_at = self.killed_at.or_else(|| Some(clock::since_boot()));
        self.signal(Signal::SIGKILL);
    }

    /// Only before its end is known: then the number may belong to somebody else.
    fn signal(&self, signal: Signal) {
        let _ = killpg(self.leader, signal);
    }
}
