//! GPUs out of a file that is read at every look, for tests and demonstrations. What stands in it:
//! `docs/guide/gpus.md`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{Device, DeviceProcess, Fault, GpuProvider, ProviderError, Sample, Stranger, Vendor};

/// Somebody may be writing it.
const TRIES: u32 = 10;
const TRY_PAUSE: Duration = Duration::from_millis(20);
const HANG_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Fake {
    path: PathBuf,
    /// Faults up to here are told; `None` before the first look: what stands there then is old.
    told: Option<u64>,
    vendor: Vendor,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    devices: Vec<FakeDevice>,
    #[serde(default)]
    faults: Vec<FakeFault>,
    #[serde(default)]
    amd: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    hang: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FakeDevice {
    uuid: String,
    #[serde(default)]
    model: String,
    memory_bytes: i64,
    #[serde(default)]
    memory_used_bytes: i64,
    #[serde(default = "idle")]
    utilization_percent: Option<i32>,
    #[serde(default)]
    temperature_celsius: i32,
    #[serde(default)]
    power_watts: f64,
    #[serde(default)]
    processes: Vec<FakeProcess>,
}

/// `null` says that it cannot be measured.
fn idle() -> Option<i32> {
    Some(0)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FakeProcess {
    pid: i32,
    #[serde(default)]
    memory_bytes: i64,
    utilization_percent: Option<i32>,
    user: Option<String>,
    #[serde(default)]
    command: String,
    start_ms: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FakeFault {
    id: u64,
    uuid: String,
    xid: u32,
}

impl Fake {
    pub fn open(path: &Path) -> Self {
        let mut fake = Self { path: path.to_owned(), told: None, vendor: Vendor::Nvidia };
        if let Ok(file) = fake.read()
            && file.amd
        {
            fake.vendor = Vendor::Amd;
        }
        fake
    }

    fn read(&self) -> Result<File, ProviderError> {
        let mut tries = 0;
        loop {
            let read = fs::read(&self.path).map_err(|error| error.to_string());
            let parsed = read
                .and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
            tries += 1;
            match parsed {
                Ok(file) => return Ok(file),
                Err(error) if tries >= TRIES => {
                    return Err(ProviderError(format!("{}: {error}", self.path.display())));
                }
                Err(_) => std::thread::sleep(TRY_PAUSE),
            }
        }
    }

    fn faults(&mut self, all: Vec<FakeFault>) -> Vec<Fault> {
        let newest = all.iter().map(|fault| fault.id).max().unwrap_or_default();
        let told = self.told.unwrap_or(newest);
        self.told = Some(newest.max(told));
        let mut new: Vec<_> = all.into_iter().filter(|fault| fault.id > told).collect();
        new.sort_by_key(|fault| fault.id);
        new.into_iter().map(|fault| Fault { uuid: fault.uuid, xid: fault.xid }).collect()
    }
}

impl GpuProvider for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn vendor(&self) -> Vendor {
        self.vendor
    }

    fn sample(&mut self) -> Result<Sample, ProviderError> {
        let mut file = self.read()?;
        while file.hang {
            std::thread::sleep(HANG_PAUSE);
            file = self.read()?;
        }
        if !file.error.is_empty() {
            return Err(ProviderError(file.error));
        }
        let devices = file.devices.into_iter().enumerate().map(|(i, fake)| device(i, fake));
        Ok(Sample { devices: devices.collect(), faults: self.faults(file.faults) })
    }
}

fn device(index: usize, fake: FakeDevice) -> Device {
    let by_processes: i64 = fake.processes.iter().map(|process| process.memory_bytes).sum();
    Device {
        uuid: fake.uuid,
        index: i32::try_from(index).unwrap_or_default(),
        model: if fake.model.is_empty() { "Fake GPU".to_owned() } else { fake.model },
        memory_bytes: fake.memory_bytes,
        memory_used_bytes: fake.memory_used_bytes.max(by_processes),
        utilization_percent: fake.utilization_percent,
        temperature_celsius: fake.temperature_celsius,
        power_watts: fake.power_watts,
        processes: fake.processes.into_iter().map(process).collect(),
    }
}

fn process(fake: FakeProcess) -> DeviceProcess {
    let (command, start_ms) = (fake.command, fake.start_ms);
    DeviceProcess {
        pid: fake.pid,
        memory_bytes: fake.memory_bytes,
        utilization_percent: fake.utilization_percent,
        stranger: fake.user.map(|user| Stranger { user, command, start_ms }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::{Fake, GpuProvider};

    #[test]
    fn the_file_is_read_anew_and_faults_are_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gpus.json");
        let write = |used: u64, faults: &str| {
            let device = format!(
                r#"{{"uuid":"GPU-0","memory_bytes":100,"processes":
                   [{{"pid":7,"memory_bytes":{used},"user":"bob"}}]}}"#
            );
            let text = format!(r#"{{"devices":[{device}],"faults":[{faults}]}}"#);
            std::fs::write(&path, text).unwrap();
        };
        let old = r#"{"id":1,"uuid":"GPU-0","xid":79}"#;
        write(10, old);
        let mut fake = Fake::open(&path);
        let first = fake.sample().unwrap();
        assert_eq!(first.faults, [], "it was there before");
        assert_eq!(first.devices[0].memory_used_bytes, 10);
        write(20, &format!(r#"{old},{{"id":2,"uuid":"GPU-0","xid":31}}"#));
        let second = fake.sample().unwrap();
        assert_eq!(second.faults[0].xid, 31);
        assert_eq!(second.devices[0].processes[0].stranger.as_ref().unwrap().user, "bob");
        assert_eq!(fake.sample().unwrap().faults, []);
        std::fs::write(&path, r#"{"devices":[],"fault":[]}"#).unwrap();
        let error = fake.sample().unwrap_err().to_string();
        assert!(error.contains("gpus.json") && error.contains("unknown field"), "{error}");
    }
}
