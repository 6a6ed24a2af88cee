//! Cores, main memory and load of the machine.

use procfs::{Current, LoadAverage, Meminfo};

/// What there is in all.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Cores.
    pub cpus: f64,
    /// Main memory.
    pub memory_bytes: i64,
}

impl Machine {
    /// What is configured, or measured where 0 is.
    pub fn measure(cpus: f64, memory_bytes: u64) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let measured = || Meminfo::current().map_or(0, |info| info.mem_total);
        let memory_bytes = if memory_bytes > 0 { memory_bytes } else { measured() };
        Self {
            cpus: if cpus > 0.0 { cpus } else { cores as f64 },
            memory_bytes: i64::try_from(memory_bytes).unwrap_or(i64::MAX),
        }
    }

    /// Runnable threads per core over a minute; 0 where the system does not say.
    pub fn load(&self) -> f64 {
        let load = LoadAverage::current().map_or(0.0, |load| f64::from(load.one));
        load / self.cpus.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Machine;

    #[test]
    fn measures_what_is_not_configured() {
        let measured = Machine::measure(0.0, 0);
        assert!(measured.cpus >= 1.0 && measured.memory_bytes > 1 << 20, "{measured:?}");
        assert!(measured.load() >= 0.0);
        let configured = Machine::measure(2.5, 1 << 30);
        assert_eq!(
            (configured.cpus.to_string().as_str(), configured.memory_bytes),
            ("2.5", 1 << 30)
        );
    }
}
