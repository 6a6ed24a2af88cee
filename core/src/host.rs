//! What is wanted of hosts: what each thing is about, as a name.

use std::fmt;

use crate::id::TaskId;

/// What an order is about. A host has at most one order of each name; a new one replaces it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderName {
    /// It takes no new tasks, until somebody says otherwise.
    Cordon,
    /// It ends when what runs has ended. A cordon once it has.
    Drain,
    /// It ends at once, and what runs goes on. Forgotten when the next process is there.
    Detach,
    /// A GPU, by its UUID.
    Gpu(String),
    /// A process on a GPU that the worker did not start.
    Process { gpu: String, pid: i32 },
    /// An attempt.
    Task { id: TaskId, attempt: i32 },
}

impl OrderName {
    /// The order behind a text; `None` if it is none of this version's.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            None => match text {
                "cordon" => Some(Self::Cordon),
                "drain" => Some(Self::Drain),
                "detach" => Some(Self::Detach),
                _ => None,
            },
            Some(("gpu", uuid)) => Some(Self::Gpu(uuid.to_owned())),
            Some(("process", of)) => {
                let (gpu, pid) = of.rsplit_once('/')?;
                Some(Self::Process { gpu: gpu.to_owned(), pid: pid.parse().ok()? })
            }
            Some(("task", of)) => {
                let (id, attempt) = of.rsplit_once('.')?;
                Some(Self::Task { id: id.parse().ok()?, attempt: attempt.parse().ok()? })
            }
            Some(_) => None,
        }
    }

    /// Whether the host takes no new tasks because of it.
    pub const fn closes(&self) -> bool {
        matches!(self, Self::Cordon | Self::Drain)
    }
}

impl fmt::Display for OrderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cordon => f.write_str("cordon"),
            Self::Drain => f.write_str("drain"),
            Self::Detach => f.write_str("detach"),
            Self::Gpu(uuid) => write!(f, "gpu/{uuid}"),
            Self::Process { gpu, pid } => write!(f, "process/{gpu}/{pid}"),
            Self::Task { id, attempt } => write!(f, "task/{id}.{attempt}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_printed_is_read_again() {
        let id: TaskId = "train-1-0000000000001".parse().unwrap();
        let gpu = "MIG-GPU-5f/7/0".to_owned();
        for name in [
            OrderName::Cordon,
            OrderName::Drain,
            OrderName::Detach,
            OrderName::Gpu(gpu.clone()),
            OrderName::Process { gpu, pid: 4_242 },
            OrderName::Task { id, attempt: 3 },
        ] {
            assert_eq!(OrderName::parse(&name.to_string()), Some(name));
        }
        for foreign in ["", "cordons", "gpus/1", "process/x", "process/x/y", "task/a.1", "task/1"] {
            assert_eq!(OrderName::parse(foreign), None, "{foreign}");
        }
    }
}
