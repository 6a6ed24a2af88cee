//! NVIDIA's library, loaded at run time.

use std::{collections::BTreeMap, path::Path};

use nvml_wrapper::{
    Device as NvmlDevice, EventSet, Nvml,
    bitmasks::event::EventTypes,
    enum_wrappers::device::TemperatureSensor,
    enums::{device::UsedGpuMemory, event::XidError},
    error::NvmlError,
};

use super::{
    Device, DeviceProcess, Fault, GpuProvider, ProviderError, Sample, Vendor, open::NotOpened,
    places::Places,
};

const LIBRARY: &str = "libnvidia-ml.so.1";
/// More events than this at one look are taken at the next.
const EVENTS_MAX: usize = 64;

/// Its handles live as long as the process: events borrow from them, and whoever ends the library
/// while a call of it hangs ends more than that.
pub(super) struct NvmlProvider {
    nvml: &'static Nvml,
    /// One per GPU, because one that cannot be watched would end the set for all.
    events: BTreeMap<String, EventSet<'static>>,
    places: Places,
    /// The last look at what the processes of a GPU used, by the library's clock.
    last_seen: BTreeMap<String, u64>,
}

impl NvmlProvider {
    pub fn open(library: &Path) -> Result<Self, NotOpened> {
        let given = !library.as_os_str().is_empty();
        let path = if given { library.as_os_str() } else { LIBRARY.as_ref() };
        let nvml = Nvml::builder().lib_path(path).init().map_err(|error| match error {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
                NotOpened::Absent(format!("{}: {error}", path.display()))
            }
            NvmlError::DriverNotLoaded if !given => {
                NotOpened::Absent("NVIDIA's driver is not loaded".to_owned())
            }
            error => NotOpened::Broken {
                name: "nvml",
                vendor: Vendor::Nvidia,
                message: in_words(&error),
            },
        })?;
        let nvml = Box::leak(Box::new(nvml));
        let (events, places, last_seen) = Default::default();
        Ok(Self { nvml, events, places, last_seen })
    }

    fn watch_faults(&mut self, device: &NvmlDevice<'static>, uuid: &str) {
        if self.events.contains_key(uuid) {
            return;
        }
        let set = self.nvml.create_event_set().map_err(|error| error.to_string());
        let watched = set.and_then(|set| {
            let watched = device.register_events(EventTypes::CRITICAL_XID_ERROR, set);
            watched.map_err(|error| error.error.to_string())
        });
        match watched {
            Ok(set) => drop(self.events.insert(uuid.to_owned(), set)),
            Err(error) => tracing::debug!(uuid, error, "faults of this GPU cannot be watched"),
        }
    }

    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (uuid, set) in &self.events {
            for _ in 0..EVENTS_MAX {
                // Times out when there is none.
                let Ok(event) = set.wait(0) else { break };
                if let Some(XidError::Value(xid)) = event.event_data {
                    let xid = u32::try_from(xid).unwrap_or(u32::MAX);
                    faults.push(Fault { uuid: uuid.clone(), xid });
                }
            }
        }
        faults
    }

    fn device(&mut self, device: &NvmlDevice<'static>) -> Result<Device, NvmlError> {
        let uuid = device.uuid()?;
        let memory = device.memory_info();
        let (total, used) = memory.map_or((0, 0), |memory| (memory.total, memory.used));
        let utilization = device.utilization_rates().ok().map(|rates| percent(rates.gpu));
        let temperature = device.temperature(TemperatureSensor::Gpu).unwrap_or_default();
        let milliwatts = device.power_usage().unwrap_or_default();
        self.watch_faults(device, &uuid);
        Ok(Device {
            index: 0,
            model: device.name().unwrap_or_default(),
            memory_bytes: bytes(total),
            memory_used_bytes: bytes(used),
            utilization_percent: utilization,
            temperature_celsius: i32::try_from(temperature).unwrap_or_default(),
            power_watts: f64::from(milliwatts) / 1_000.0,
            processes: self.processes(device, &uuid),
            uuid,
        })
    }

    fn processes(&mut self, device: &NvmlDevice<'static>, uuid: &str) -> Vec<DeviceProcess> {
        let mut found: BTreeMap<u32, DeviceProcess> = BTreeMap::new();
        let lists = [device.running_compute_processes(), device.running_graphics_processes()];
        for process in lists.into_iter().flatten().flatten() {
            let memory = match process.used_gpu_memory {
                UsedGpuMemory::Used(memory) => bytes(memory),
                UsedGpuMemory::Unavailable => 0,
            };
            let entry = found.entry(process.pid).or_default();
            entry.pid = i32::try_from(process.pid).unwrap_or_default();
            entry.memory_bytes = entry.memory_bytes.max(memory);
        }
        let last_seen = self.last_seen.get(uuid).copied();
        let used = match device.process_utilization_stats(last_seen) {
            Ok(used) => used,
            // Nobody used anything since.
            Err(NvmlError::NotFound) => Vec::new(),
            Err(_) => return found.into_values().collect(),
        };
        if let Some(newest) = used.iter().map(|sample| sample.timestamp).max() {
            self.last_seen.insert(uuid.to_owned(), newest);
        }
        for (pid, process) in &mut found {
            let own = used.iter().filter(|sample| sample.pid == *pid);
            let newest = own.max_by_key(|sample| sample.timestamp);
            process.utilization_percent = Some(newest.map_or(0, |sample| percent(sample.sm_util)));
        }
        found.into_values().collect()
    }
}

impl GpuProvider for NvmlProvider {
    fn name(&self) -> &'static str {
        "nvml"
    }

    fn vendor(&self) -> Vendor {
        Vendor::Nvidia
    }

    fn sample(&mut self) -> Result<Sample, ProviderError> {
        let failed = |error: NvmlError| ProviderError(in_words(&error));
        let count = self.nvml.device_count().map_err(failed)?;
        let mut found = Vec::new();
        for number in 0..count {
            let nvml = self.nvml;
            let seen = nvml.device_by_index(number).and_then(|device| {
                let place = device.pci_info().map(|info| info.bus_id);
                let place = place.unwrap_or_else(|_| format!("unknown {number:03}"));
                self.places.know(&place);
                Ok((place, self.device(&device)?))
            });
            match seen {
                Ok(seen) => found.push(seen),
                // It is missed by those who know it.
                Err(error) => tracing::debug!(number, %error, "a GPU cannot be read"),
            }
        }
        Ok(Sample { devices: self.places.number(found), faults: self.faults() })
    }
}

fn in_words(error: &NvmlError) -> String {
    match error {
        NvmlError::LibRmVersionMismatch => "NVIDIA's driver and library do not fit together, as \
            after an upgrade of one of them: load the driver anew, or restart the host"
            .to_owned(),
        error => format!("NVML: {error}"),
    }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn percent(value: u32) -> i32 {
    i32::try_from(value.min(100)).unwrap_or_default()
}
