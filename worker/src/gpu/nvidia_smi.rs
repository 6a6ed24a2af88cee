//! NVIDIA's program, where its library cannot be loaded. It knows no faults, and not what a process
//! uses.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use super::{
    Device, DeviceProcess, GpuProvider, ProviderError, Sample, Vendor, open::NotOpened,
    places::Places,
};

const DEVICES: &str = "--query-gpu=uuid,pci.bus_id,name,memory.total,memory.used,utilization.gpu,\
                       temperature.gpu,power.draw";
const PROCESSES: &str = "--query-compute-apps=gpu_uuid,pid,used_gpu_memory";
const FORMAT: &str = "--format=csv,noheader,nounits";
/// Its exit code where the driver is not loaded, as on a host that has but the package.
const NO_DRIVER: i32 = 9;
const MIB: i64 = 1024 * 1024;

pub(super) struct NvidiaSmi {
    program: PathBuf,
    places: Places,
}

/// Why it has not answered.
#[derive(Debug, thiserror::Error)]
enum Silence {
    #[error(transparent)]
    NotCalled(#[from] io::Error),
    #[error("nvidia-smi: {status}: {said}")]
    Failed { status: ExitStatus, said: String },
}

impl NvidiaSmi {
    pub fn open(program: &Path) -> Result<Self, NotOpened> {
        let provider = Self { program: program.to_owned(), places: Places::default() };
        match provider.ask(DEVICES) {
            Ok(_) => Ok(provider),
            Err(Silence::NotCalled(error)) if error.kind() == io::ErrorKind::NotFound => {
                Err(NotOpened::Absent(format!("{}: {error}", program.display())))
            }
            Err(error @ Silence::Failed { status, .. }) if status.code() == Some(NO_DRIVER) => {
                Err(NotOpened::Absent(error.to_string()))
            }
            Err(error) => Err(NotOpened::Broken {
                name: "nvidia-smi",
                vendor: Vendor::Nvidia,
                message: error.to_string(),
            }),
        }
    }

    fn ask(&self, query: &str) -> Result<String, Silence> {
        let mut command = Command::new(&self.program);
        let output = command.args([query, FORMAT]).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            // It tells of errors on its output.
            let said = [&output.stdout[..], &output.stderr[..]].concat();
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            return Err(Silence::Failed { status: output.status, said });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl GpuProvider for NvidiaSmi {
    fn name(&self) -> &'static str {
        "nvidia-smi"
    }

    fn vendor(&self) -> Vendor {
        Vendor::Nvidia
    }

    fn sample(&mut self) -> Result<Sample, ProviderError> {
        let ask = |query| self.ask(query).map_err(|error| ProviderError(error.to_string()));
        let (devices, processes) = (ask(DEVICES)?, ask(PROCESSES)?);
        Ok(Sample { devices: parse(&mut self.places, &devices, &processes), faults: Vec::new() })
    }
}

/// Lines that are not understood are left out: it says e.g. `[N/A]` where it knows nothing.
fn parse(places: &mut Places, devices: &str, processes: &str) -> Vec<Device> {
    let mut found = places.number(devices.lines().filter_map(device).collect());
    for line in processes.lines() {
        let fields = fields(line);
        let [uuid, pid, memory] = fields[..] else { continue };
        let device = found.iter_mut().find(|device| device.uuid == uuid);
        if let (Some(device), Ok(pid)) = (device, pid.parse()) {
            device.processes.push(DeviceProcess {
                pid,
                memory_bytes: number(memory) as i64 * MIB,
                ..DeviceProcess::default()
            });
        }
    }
    found
}

fn device(line: &str) -> Option<(String, Device)> {
    let fields = fields(line);
    let [uuid, place, model, total, used, utilization, temperature, power] = fields[..] else {
        return None;
    };
    let device = Device {
        uuid: uuid.to_owned(),
        model: model.to_owned(),
        memory_bytes: number(total) as i64 * MIB,
        memory_used_bytes: number(used) as i64 * MIB,
        utilization_percent: utilization.parse().ok(),
        temperature_celsius: number(temperature) as i32,
        power_watts: number(power),
        ..Device::default()
    };
    uuid.starts_with("GPU-").then(|| (place.to_owned(), device))
}

fn fields(line: &str) -> Vec<&str> {
    line.split(',').map(str::trim).collect()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn understands_what_the_program_prints() {
        let devices = "\
            GPU-b, 00000000:81:00.0, NVIDIA A100-SXM4-40GB, 40960, 642, 7, 41, 63.20\n\
            GPU-a, 00000000:01:00.0, NVIDIA A100-SXM4-40GB, 40960, 0, [N/A], 30, [N/A]\n\
            No devices were found\n";
        let processes = "GPU-b, 4242, 612\nGPU-b, 4243, [N/A]\nGPU-c, 1, 1\n";
        let mut places = Places::default();
        let found = parse(&mut places, devices, processes);
        let names: Vec<_> = found.iter().map(|gpu| (gpu.index, &gpu.uuid[..])).collect();
        assert_eq!(names, [(0, "GPU-a"), (1, "GPU-b")], "in the order of the bus");
        let percents = found.iter().map(|gpu| gpu.utilization_percent);
        assert_eq!(percents.collect::<Vec<_>>(), [None, Some(7)]);
        assert_eq!(found[1].memory_used_bytes, 642 << 20);
        assert_eq!(found[1].power_watts.to_string(), "63.2");
        let seen: Vec<_> = found[1].processes.iter().map(|p| (p.pid, p.memory_bytes)).collect();
        assert_eq!(seen, [(4242, 612 << 20), (4243, 0)]);
        let without_a = devices.lines().next().unwrap_or_default();
        assert_eq!(parse(&mut places, without_a, "")[0].index, 1, "GPU-a keeps its number");
    }

    #[test]
    fn without_a_driver_there_is_nothing_and_else_something_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let opened = |code: i32| {
            let path = dir.path().join(format!("smi{code}"));
            std::fs::write(&path, format!("#!/bin/sh\necho no driver; exit {code}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            match NvidiaSmi::open(&path) {
                Ok(_) => "open".to_owned(),
                Err(NotOpened::Absent(why)) => format!("absent: {why}"),
                Err(NotOpened::Broken { message, .. }) => format!("broken: {message}"),
            }
        };
        let expected = "absent: nvidia-smi: exit status: 9: no driver";
        assert_eq!(opened(9), expected, "AMD's are looked for then");
        assert_eq!(opened(15), "broken: nvidia-smi: exit status: 15: no driver");
        assert_eq!(opened(0), "open");
    }
}
