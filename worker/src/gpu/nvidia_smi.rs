//! NVIDIA's program, where its library cannot be loaded. It knows no faults, and not what a process
//! uses.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Device, DeviceProcess, GpuProvider, ProviderError, Sample, Vendor, open::NotOpened};

const DEVICES: &str = "--query-gpu=uuid,pci.bus_id,name,memory.total,memory.used,utilization.gpu,\
                       temperature.gpu,power.draw";
const PROCESSES: &str = "--query-compute-apps=gpu_uuid,pid,used_gpu_memory";
const FORMAT: &str = "--format=csv,noheader,nounits";
const MIB: i64 = 1024 * 1024;

pub(super) struct NvidiaSmi {
    program: PathBuf,
}

impl NvidiaSmi {
    pub fn open(program: &Path) -> Result<Self, NotOpened> {
        let provider = Self { program: program.to_owned() };
        match provider.ask(DEVICES) {
            Ok(_) => Ok(provider),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(NotOpened::Absent(format!("{}: {error}", program.display())))
            }
            Err(error) => Err(NotOpened::Broken {
                name: "nvidia-smi",
                vendor: Vendor::Nvidia,
                message: error.to_string(),
            }),
        }
    }

    fn ask(&self, query: &str) -> io::Result<String> {
        let mut command = Command::new(&self.program);
        let output = command.args([query, FORMAT]).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            // It tells of errors on its output.
            let said = [&output.stdout[..], &output.stderr[..]].concat();
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            return Err(io::Error::other(format!("nvidia-smi: {}: {said}", output.status)));
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
        Ok(Sample { devices: parse(&ask(DEVICES)?, &ask(PROCESSES)?), faults: Vec::new() })
    }
}

/// Lines that are not understood are left out: it says e.g. `[N/A]` where it knows nothing.
fn parse(devices: &str, processes: &str) -> Vec<Device> {
    let mut found: Vec<(String, Device)> = devices.lines().filter_map(device).collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let mut found: Vec<Device> = found.into_iter().map(|(_, device)| device).collect();
    for (index, device) in found.iter_mut().enumerate() {
        device.index = i32::try_from(index).unwrap_or_default();
    }
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
        utilization_percent: number(utilization) as i32,
        temperature_celsius: number(temperature) as i32,
        power_watts: number(power),
        ..Device::default()
    };
    uuid.starts_with("GPU-").then(|| (place.to_ascii_lowercase(), device))
}

fn fields(line: &str) -> Vec<&str> {
    line.split(',').map(str::trim).collect()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn understands_what_the_program_prints() {
        let devices = "\
            GPU-b, 00000000:81:00.0, NVIDIA A100-SXM4-40GB, 40960, 642, 7, 41, 63.20\n\
            GPU-a, 00000000:01:00.0, NVIDIA A100-SXM4-40GB, 40960, 0, [N/A], 30, [N/A]\n\
            No devices were found\n";
        let processes = "GPU-b, 4242, 612\nGPU-b, 4243, [N/A]\nGPU-c, 1, 1\n";
        let found = parse(devices, processes);
        let names: Vec<_> = found.iter().map(|gpu| (gpu.index, &gpu.uuid[..])).collect();
        assert_eq!(names, [(0, "GPU-a"), (1, "GPU-b")], "in the order of the bus");
        assert_eq!(found[0].utilization_percent, 0);
        assert_eq!(found[1].memory_used_bytes, 642 << 20);
        assert_eq!(found[1].power_watts.to_string(), "63.2");
        let seen: Vec<_> = found[1].processes.iter().map(|p| (p.pid, p.memory_bytes)).collect();
        assert_eq!(seen, [(4242, 612 << 20), (4243, 0)]);
    }
}
