//! What processes hold of memory and descriptors while they live.

use std::time::Duration;

/// What the first broker, governor and worker held at one time.
#[derive(Clone, Debug)]
pub struct Spent {
    pub after: Duration,
    pub processes: Vec<Process>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Process {
    pub name: String,
    pub memory_kib: u64,
    pub descriptors: usize,
}

impl Process {
    /// As the kernel says; `None` when it is gone.
    pub fn of(name: String, pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let memory_kib = resident.trim().trim_end_matches(" kB").parse().ok()?;
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Self { name, memory_kib, descriptors })
    }
}

/// What grew from the first to the last third of a run by more than a process may: a fifth and 16
/// MiB of memory, 16 descriptors. The first sixth, in which caches fill, is left out.
pub fn grown(spent: &[Spent]) -> Vec<String> {
    let settled = &spent[spent.len() / 6..];
    let third = settled.len() / 3;
    let (Some(first), Some(last)) = (settled.get(..third), settled.get(settled.len() - third..))
    else {
        return Vec::new();
    };
    let names = first.iter().flat_map(|spent| spent.processes.iter().map(|one| &one.name));
    let mut names: Vec<&String> = names.collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter_map(|name| growth(name, first, last)).collect()
}

fn growth(name: &str, first: &[Spent], last: &[Spent]) -> Option<String> {
    let median = |spent: &[Spent], of: fn(&Process) -> u64| {
        let mine = spent.iter().flat_map(|spent| &spent.processes).filter(|one| one.name == name);
        let mut values: Vec<u64> = mine.map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let memory = [first, last].map(|part| median(part, |one| one.memory_kib));
    let descriptors = [first, last].map(|part| median(part, |one| one.descriptors as u64));
    let has_grown =
        memory[1] > memory[0] + memory[0] / 5 + 16 * 1_024 || descriptors[1] > descriptors[0] + 16;
    let told = format!(
        "{name}: {} → {} KiB, {} → {} descriptors",
        memory[0], memory[1], descriptors[0], descriptors[1]
    );
    println!("{told}");
    has_grown.then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(memory_kib: impl Fn(u64) -> u64, descriptors: impl Fn(usize) -> usize) -> Vec<Spent> {
        let spent = |round: u64| Spent {
            after: Duration::from_secs(round),
            processes: vec![Process {
                name: "broker-0".to_owned(),
                memory_kib: memory_kib(round),
                descriptors: descriptors(round as usize),
            }],
        };
        (0..60).map(spent).collect()
    }

    #[test]
    fn what_is_flat_after_a_while_has_not_grown() {
        let fills = |round| 100_000 + 10_000 * u64::min(round, 8);
        assert!(grown(&run(fills, |round| 40 + round % 3)).is_empty());
        assert!(grown(&[]).is_empty());
    }

    #[test]
    fn what_leaks_is_found() {
        assert_eq!(grown(&run(|round| 100_000 + 2_000 * round, |_| 40)).len(), 1);
        assert_eq!(grown(&run(|_| 100_000, |round| 40 + round)).len(), 1);
    }
}
