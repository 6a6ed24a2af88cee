//! GPUs out of a file that the fake provider of a worker reads at every look.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The GPUs of a worker, as long as a test does not change them.
#[derive(Clone, Copy, Debug)]
pub struct Cards {
    pub count: usize,
    pub memory_gib: i64,
}

/// The file of a worker; what a test does to it, the worker sees at its next look.
pub struct FakeGpus {
    path: PathBuf,
}

impl FakeGpus {
    /// Of a worker whose file is here.
    pub(crate) fn of(path: PathBuf) -> Self {
        Self { path }
    }

    /// Writes GPUs that nobody uses.
    pub(crate) fn create(&self, host: &str, cards: Cards) {
        let device = |n: usize| {
            json!({
                "uuid": format!("GPU-{host}-{n}"),
                "model": "Fake A30",
                "memory_bytes": cards.memory_gib << 30,
            })
        };
        let devices: Vec<Value> = (0..cards.count).map(device).collect();
        self.write(&json!({ "devices": devices, "faults": [] }));
    }

    /// Where it is, for the worker's settings.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The UUID of GPU `n`.
    pub fn uuid(&self, n: usize) -> String {
        self.read()["devices"][n]["uuid"].as_str().unwrap_or_default().to_owned()
    }

    /// Somebody's process appears on GPU `n`. Its number is that of no process of the machine: the
    /// file says whose it is.
    pub fn stranger(&self, n: usize, pid: i32, user: &str, memory_mib: i64) {
        self.change(|file| {
            let processes = &mut file["devices"][n]["processes"];
            let process = json!({
                "pid": pid,
                "memory_bytes": memory_mib << 20,
                "user": user,
                "command": "python train.py",
            });
            match processes.as_array_mut() {
                Some(there) => there.push(process),
                None => *processes = json!([process]),
            }
        });
    }

    /// A process of this machine appears on GPU `n`; whose it is, the worker finds out.
    pub fn process(&self, n: usize, pid: i32, memory_mib: i64) {
        let process = json!({ "pid": pid, "memory_bytes": memory_mib << 20 });
        self.change(|file| file["devices"][n]["processes"] = json!([process]));
    }

    /// All processes of GPU `n` end.
    pub fn leave(&self, n: usize) {
        self.change(|file| file["devices"][n]["processes"] = json!([]));
    }

    /// GPU `n` is so busy.
    pub fn busy(&self, n: usize, percent: i32) {
        self.change(|file| file["devices"][n]["utilization_percent"] = json!(percent));
    }

    /// GPU `n` shows a fault of this number.
    pub fn fault(&self, n: usize, xid: u32) {
        self.change(|file| {
            let uuid = file["devices"][n]["uuid"].clone();
            if let Some(faults) = file["faults"].as_array_mut() {
                let id = faults.len() + 1;
                faults.push(json!({ "id": id, "uuid": uuid, "xid": xid }));
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut file = self.read();
        change(&mut file);
        self.write(&file);
    }

    fn read(&self) -> Value {
        let text = std::fs::read(&self.path).unwrap_or_default();
        serde_json::from_slice(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }

    /// By rename, so that nobody reads half of it.
    fn write(&self, file: &Value) {
        let new = self.path.with_extension("new");
        let written =
            std::fs::write(&new, file.to_string()).and_then(|()| std::fs::rename(&new, &self.path));
        written.unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
    }
}
