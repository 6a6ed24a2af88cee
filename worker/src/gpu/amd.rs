//! AMD's GPUs, as the kernel's driver shows them in sysfs: `class/kfd` for computing, `class/drm`
//! for the rest. Both are joined by the number of the render node.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Device, DeviceProcess, GpuProvider, ProviderError, Sample, Vendor, open::NotOpened};

pub(super) struct Amd {
    root: PathBuf,
}

/// A node of the topology that is a GPU.
struct Node {
    /// Its place, which is the order in which AMD's programs count.
    number: u32,
    gpu_id: String,
    render_minor: String,
}

impl Amd {
    pub fn open(root: &Path) -> Result<Self, NotOpened> {
        let provider = Self { root: root.to_owned() };
        if provider.nodes().is_empty() {
            return Err(NotOpened::Absent(format!("no GPU of AMD in {}", root.display())));
        }
        Ok(provider)
    }

    fn nodes(&self) -> Vec<Node> {
        let nodes = entries(&self.root.join("class/kfd/kfd/topology/nodes"));
        let mut nodes: Vec<Node> = nodes.iter().filter_map(|path| node(path)).collect();
        nodes.sort_by_key(|node| node.number);
        nodes
    }

    /// The directory of the device that has this render node.
    fn device_dir(&self, render_minor: &str) -> Option<PathBuf> {
        let render = format!("renderD{render_minor}");
        let cards = entries(&self.root.join("class/drm"));
        let devices = cards.into_iter().map(|card| card.join("device"));
        let mut devices = devices.filter(|device| device.join("drm").join(&render).exists());
        devices.next()
    }

    fn device(&self, index: usize, node: &Node) -> Option<Device> {
        let dir = self.device_dir(&node.render_minor)?;
        let sensors = entries(&dir.join("hwmon"));
        let sensor = |name: &str| sensors.iter().map(|dir| number(&dir.join(name))).max();
        let unique = text(&dir.join("unique_id"));
        let uuid = match unique.is_empty() {
            false => format!("GPU-{}", unique.trim_start_matches("0x")),
            true => format!("PCI-{}", slot(&dir)),
        };
        let named = text(&dir.join("product_name"));
        let model = if named.is_empty() { "AMD GPU".to_owned() } else { named };
        let power = sensor("power1_average").filter(|power| *power > 0);
        let power = power.or_else(|| sensor("power1_input")).unwrap_or_default();
        Some(Device {
            uuid,
            index: i32::try_from(index).unwrap_or_default(),
            model,
            memory_bytes: number(&dir.join("mem_info_vram_total")),
            memory_used_bytes: number(&dir.join("mem_info_vram_used")),
            utilization_percent: text(&dir.join("gpu_busy_percent")).parse().ok(),
            temperature_celsius: small(sensor("temp1_input").unwrap_or_default() / 1_000),
            power_watts: power as f64 / 1e6,
            processes: self.processes(&node.gpu_id),
        })
    }

    fn processes(&self, gpu_id: &str) -> Vec<DeviceProcess> {
        let processes = entries(&self.root.join("class/kfd/kfd/proc"));
        let process = |dir: PathBuf| {
            let pid = dir.file_name()?.to_str()?.parse().ok()?;
            let memory_bytes = fs::read_to_string(dir.join(format!("vram_{gpu_id}"))).ok()?;
            let memory_bytes = memory_bytes.trim().parse().ok()?;
            // Whoever uses one of them has a queue on all, and no memory on the others.
            (memory_bytes > 0).then(|| DeviceProcess { pid, memory_bytes, ..Default::default() })
        };
        processes.into_iter().filter_map(process).collect()
    }
}

impl GpuProvider for Amd {
    fn name(&self) -> &'static str {
        "amd"
    }

    fn vendor(&self) -> Vendor {
        Vendor::Amd
    }

    fn sample(&mut self) -> Result<Sample, ProviderError> {
        let nodes = self.nodes();
        let devices = nodes.iter().enumerate().filter_map(|(i, node)| self.device(i, node));
        Ok(Sample { devices: devices.collect(), faults: Vec::new() })
    }
}

fn node(path: &Path) -> Option<Node> {
    // Processors are nodes too, with the id 0.
    let gpu_id = Some(text(&path.join("gpu_id"))).filter(|id| !id.is_empty() && id != "0")?;
    let properties = text(&path.join("properties"));
    let mut lines = properties.lines().filter_map(|line| line.split_once(' '));
    let (_, minor) = lines.find(|(name, _)| *name == "drm_render_minor")?;
    let number = path.file_name()?.to_str()?.parse().ok()?;
    Some(Node { number, gpu_id, render_minor: minor.trim().to_owned() })
}

fn slot(dir: &Path) -> String {
    let uevent = text(&dir.join("uevent"));
    let mut lines = uevent.lines().filter_map(|line| line.split_once('='));
    let slot = lines.find(|(name, _)| *name == "PCI_SLOT_NAME");
    slot.map_or_else(String::new, |(_, slot)| slot.to_owned())
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn number(path: &Path) -> i64 {
    text(path).parse().unwrap_or_default()
}

fn small(value: i64) -> i32 {
    i32::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::{fs, path::Path};

    use super::{Amd, GpuProvider};

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn card(root: &Path, card: &str, minor: &str, unique: &str) {
        let file = |name: &str| format!("class/drm/{card}/device/{name}");
        put(root, &file(&format!("drm/renderD{minor}/dev")), "226:128\n");
        put(root, &file("unique_id"), unique);
        put(root, &file("uevent"), "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:43:00.0\n");
        put(root, &file("product_name"), "Instinct MI210\n");
        put(root, &file("mem_info_vram_total"), "68702699520\n");
        put(root, &file("mem_info_vram_used"), "10485760\n");
        put(root, &file("gpu_busy_percent"), "37\n");
        put(root, &file("hwmon/hwmon3/temp1_input"), "41000\n");
        put(root, &file("hwmon/hwmon3/power1_average"), "42000000\n");
    }

    #[test]
    fn reads_the_tree_of_the_driver() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert!(Amd::open(root).is_err(), "there is none");
        let node = |number: u32, id: &str, minor: u32| {
            let path = format!("class/kfd/kfd/topology/nodes/{number}");
            put(root, &format!("{path}/gpu_id"), id);
            let properties = format!("cpu_cores_count 0\ndrm_render_minor {minor}\n");
            put(root, &format!("{path}/properties"), &properties);
        };
        node(0, "0\n", 0);
        node(1, "1001\n", 129);
        node(2, "1002\n", 128);
        card(root, "card0", "128", "a1b2c3d4e5f60718\n");
        card(root, "card1", "129", "");
        put(root, "class/kfd/kfd/proc/4242/vram_1002", "1048576\n");
        put(root, "class/kfd/kfd/proc/4242/vram_1001", "0\n");
        let devices = Amd::open(root).ok().unwrap().sample().unwrap().devices;
        let uuids: Vec<_> = devices.iter().map(|device| &device.uuid[..]).collect();
        assert_eq!(uuids, ["PCI-0000:43:00.0", "GPU-a1b2c3d4e5f60718"], "as the driver counts");
        let gpu = &devices[1];
        assert_eq!((gpu.index, gpu.temperature_celsius), (1, 41));
        assert_eq!(gpu.utilization_percent, Some(37));
        assert_eq!((gpu.memory_bytes, gpu.memory_used_bytes), (68_702_699_520, 10_485_760));
        assert_eq!((gpu.model.as_str(), gpu.power_watts as i32), ("Instinct MI210", 42));
        assert!(devices[0].processes.is_empty());
        assert_eq!((gpu.processes[0].pid, gpu.processes[0].memory_bytes), (4242, 1 << 20));
    }
}
