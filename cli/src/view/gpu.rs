//! A GPU of a host, with all that its worker told of it.

use super::{bytes_for_people, enum_name};
use crate::{
    fleet,
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{
    AttemptUsage, Gpu, GpuProcess, GpuProcessTreatment, GpuState, Host, RunningTask,
};
use prost_types::Timestamp;
use serde::Serialize;

/// See the protocol's `Gpu`.
#[derive(Debug, Clone, Serialize)]
pub struct GpuView {
    /// `HOST:INDEX`.
    name: String,
    host: String,
    worker_id: String,
    alive: bool,
    report_time: Option<String>,
    uuid: String,
    index: i32,
    model: String,
    memory_bytes: i64,
    memory_used_bytes: i64,
    utilization_percent: i32,
    temperature_celsius: i32,
    power_watts: f64,
    state: String,
    reason: String,
    until: Option<String>,
    /// An operator wants tasks kept away; `state` follows as soon as the worker has heard of it.
    cordoned: bool,
    tasks: Vec<RunningView>,
    processes: Vec<ProcessView>,
    #[serde(skip)]
    until_at: Option<Timestamp>,
}

/// A process that the worker did not start.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessView {
    pid: i32,
    user: String,
    command: String,
    memory_bytes: i64,
    utilization_percent: i32,
    since: Option<String>,
    treatment: String,
    blocks: bool,
    #[serde(skip)]
    since_at: Option<Timestamp>,
}

/// See the protocol's `RunningTask`.
#[derive(Debug, Clone, Serialize)]
pub struct RunningView {
    task_id: String,
    attempt: i32,
    user: String,
    name: String,
    gpus: Vec<String>,
    gpu_utilization_percent: i32,
    gpu_memory_bytes: i64,
    memory_bytes: i64,
    cpus: f64,
    trespassed_gpus: Vec<String>,
    end_time_max: Option<String>,
    usage: Option<UsageView>,
}

/// What it has used so far.
#[derive(Debug, Clone, Serialize)]
struct UsageView {
    gpu_seconds: f64,
    gpu_utilization_percent: f64,
    gpu_memory_peak_bytes: i64,
    cpu_seconds: f64,
    memory_peak_bytes: i64,
}

impl From<&AttemptUsage> for UsageView {
    fn from(usage: &AttemptUsage) -> Self {
        Self {
            gpu_seconds: usage.gpu_seconds,
            gpu_utilization_percent: usage.gpu_utilization_percent,
            gpu_memory_peak_bytes: usage.gpu_memory_peak_bytes,
            cpu_seconds: usage.cpu_seconds,
            memory_peak_bytes: usage.memory_peak_bytes,
        }
    }
}

impl From<&RunningTask> for RunningView {
    fn from(task: &RunningTask) -> Self {
        Self {
            task_id: task.task_id.clone(),
            attempt: task.attempt,
            user: task.user.clone(),
            name: task.name.clone(),
            gpus: task.gpus.clone(),
            gpu_utilization_percent: task.gpu_utilization_percent,
            gpu_memory_bytes: task.gpu_memory_bytes,
            memory_bytes: task.memory_bytes,
            cpus: task.cpus,
            trespassed_gpus: task.trespassed_gpus.clone(),
            end_time_max: time::rfc3339(task.end_time_max.as_ref()),
            usage: task.usage.as_ref().map(Into::into),
        }
    }
}

impl RunningView {
    /// `carol train-1-0c5wzq8a7r2kd (resnet)`
    pub fn told(&self) -> String {
        let name = if self.name.is_empty() { String::new() } else { format!(" ({})", self.name) };
        format!("{} {}{name}", self.user, self.task_id).trim_start().to_owned()
    }
}

impl From<&GpuProcess> for ProcessView {
    fn from(process: &GpuProcess) -> Self {
        let known = GpuProcessTreatment::try_from(process.treatment).map(|it| it.as_str_name());
        let treatment = known.map_err(|_| process.treatment);
        Self {
            pid: process.pid,
            user: process.user.clone(),
            command: process.command.clone(),
            memory_bytes: process.memory_bytes,
            utilization_percent: process.utilization_percent,
            since: time::rfc3339(process.since.as_ref()),
            treatment: enum_name(treatment, "GPU_PROCESS_TREATMENT_"),
            blocks: process.blocks,
            since_at: process.since,
        }
    }
}

impl ProcessView {
    /// `pid 4242 of bob: python train.py, 20.0 GiB, since 2d ago, ignored`
    pub fn told(&self, look: Look) -> String {
        let mut parts = vec![match self.user.as_str() {
            "" => format!("pid {}: {}", self.pid, self.command),
            user => format!("pid {} of {user}: {}", self.pid, self.command),
        }];
        let memory = bytes_for_people(self.memory_bytes);
        parts.extend((!memory.is_empty()).then_some(memory));
        if self.utilization_percent > 0 {
            parts.push(format!("{} %", self.utilization_percent));
        }
        let since = time::elapsed(self.since_at.as_ref(), None, look.now_ms);
        parts.extend((!since.is_empty()).then(|| format!("for {since}")));
        if self.treatment != "UNSPECIFIED" {
            parts.push(self.treatment.to_lowercase());
        }
        parts.join(", ")
    }
}

/// `READY` etc.
pub fn state_name(state: i32) -> String {
    let known = GpuState::try_from(state).map(|state| state.as_str_name()).map_err(|_| state);
    enum_name(known, "GPU_STATE_")
}

/// The GPUs of a host, in the order of its report.
pub fn views(host: &Host) -> Vec<GpuView> {
    fleet::gpus(host).iter().map(|gpu| GpuView::new(host, gpu)).collect()
}

impl GpuView {
    fn new(host: &Host, gpu: &Gpu) -> Self {
        let worker = host.worker.clone().unwrap_or_default();
        let running = host.report.iter().flat_map(|report| &report.running);
        let has_it = |task: &&RunningTask| gpu.task_ids.contains(&task.task_id);
        let orders = host.orders.iter().flat_map(|orders| &orders.gpus);
        Self {
            name: format!("{}:{}", fleet::name(host), gpu.index),
            host: worker.host,
            worker_id: worker.worker_id,
            alive: worker.alive,
            report_time: time::rfc3339(host.report_time.as_ref()),
            uuid: gpu.uuid.clone(),
            index: gpu.index,
            model: gpu.model.clone(),
            memory_bytes: gpu.memory_bytes,
            memory_used_bytes: gpu.memory_used_bytes,
            utilization_percent: gpu.utilization_percent,
            temperature_celsius: gpu.temperature_celsius,
            power_watts: gpu.power_watts,
            state: state_name(gpu.state),
            reason: gpu.reason.clone(),
            until: time::rfc3339(gpu.until.as_ref()),
            cordoned: orders.filter(|order| order.uuid == gpu.uuid).any(|order| order.cordoned),
            tasks: running.filter(has_it).map(Into::into).collect(),
            processes: gpu.processes.iter().map(Into::into).collect(),
            until_at: gpu.until,
        }
    }

    /// Whether it is the one with this UUID.
    pub fn is(&self, uuid: &str) -> bool {
        self.uuid == uuid
    }

    /// Its state for people: that of a host that is gone is not known.
    pub fn condition(&self) -> &str {
        match self.state.as_str() {
            _ if !self.alive => "LOST",
            "READY" if self.cordoned => "CORDONED",
            state => state,
        }
    }

    /// Whether a task could have all of it now.
    pub fn is_free(&self) -> bool {
        self.condition() == "READY" && self.tasks.is_empty()
    }

    /// It in one line, for a list inside of another thing.
    pub fn line(&self, look: Look) -> String {
        let mut line =
            format!("{} {} {}", self.index, self.model, look.palette.state(self.condition()));
        let more = [self.who(look).join("; "), self.why_else(look)];
        for text in more.iter().filter(|text| !text.is_empty()) {
            line.push_str(&format!(", {text}"));
        }
        line
    }

    /// `19.5 GiB / 24.0 GiB`
    fn memory(&self) -> String {
        let used = bytes_for_people(self.memory_used_bytes);
        let used = if used.is_empty() { "0".to_owned() } else { used };
        format!("{used} / {}", bytes_for_people(self.memory_bytes))
    }

    fn who(&self, look: Look) -> Vec<String> {
        let tasks = self.tasks.iter().map(RunningView::told);
        tasks.chain(self.processes.iter().map(|process| process.told(look))).collect()
    }

    /// The same beside those who use it: a stranger who stands there needs no second mention.
    fn why_else(&self, look: Look) -> String {
        let is_told = self.state == "FOREIGN" && self.processes.iter().any(|it| it.blocks);
        if is_told { String::new() } else { self.why(look) }
    }

    /// Why it may not be used, and until when.
    pub fn why(&self, look: Look) -> String {
        let until = time::relative(self.until_at.as_ref(), look.now_ms);
        match (self.reason.is_empty(), until.is_empty()) {
            (_, true) => self.reason.clone(),
            (true, false) => format!("again {until}"),
            (false, false) => format!("{}; again {until}", self.reason),
        }
    }
}

impl View for GpuView {
    const COLUMNS: &'static [&'static str] =
        &["GPU", "MODEL", "STATE", "UTIL", "MEMORY", "TEMP", "USED BY", "REASON"];

    fn id(&self) -> String {
        self.uuid.clone()
    }

    fn row(&self, look: Look) -> Vec<String> {
        vec![
            self.name.clone(),
            self.model.clone(),
            look.palette.state(self.condition()),
            format!("{} %", self.utilization_percent),
            self.memory(),
            format!("{} °C", self.temperature_celsius),
            self.who(look).join("\n"),
            self.why_else(look),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names = ["gpu", "model", "state", "utilisation", "memory", "temperature", "used by"];
        let mut details: Vec<_> = names.into_iter().chain(["reason"]).zip(self.row(look)).collect();
        details.push(("uuid", self.uuid.clone()));
        details
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{fleet::tests::host, style::Palette};
    use asyncflow_proto::{time::timestamp, v1::GpuOrder, v1::HostOrders};

    const LOOK: fn() -> Look = || Look { palette: Palette::off(), now_ms: 200_000_000 };

    fn used() -> Host {
        let mut host = host("w", "anna", &["GPU-a", "GPU-b"]);
        let report = host.report.as_mut().unwrap();
        report.running = vec![RunningTask {
            task_id: "train-1-x".to_owned(),
            user: "carol".to_owned(),
            name: "resnet".to_owned(),
            ..RunningTask::default()
        }];
        report.gpus[0].task_ids = vec!["train-1-x".to_owned()];
        report.gpus[0].memory_bytes = 24 << 30;
        report.gpus[0].set_state(GpuState::Ready);
        report.gpus[1].set_state(GpuState::Foreign);
        report.gpus[1].reason = "a stranger uses it".to_owned();
        report.gpus[1].processes = vec![GpuProcess {
            pid: 4242,
            user: "bob".to_owned(),
            command: "python train.py".to_owned(),
            memory_bytes: 20 << 30,
            since: Some(timestamp(200_000_000 - 2 * 86_400_000)),
            blocks: true,
            ..GpuProcess::default()
        }];
        host
    }

    #[test]
    fn a_gpu_tells_who_uses_it() {
        let views = views(&used());
        let (first, second) = (views[0].row(LOOK()), views[1].row(LOOK()));
        assert_eq!([&first[0], &first[2], &first[4]], ["anna:0", "READY", "0 / 24.0 GiB"]);
        assert_eq!(first[6], "carol train-1-x (resnet)");
        assert_eq!(second[6], "pid 4242 of bob: python train.py, 20.0 GiB, for 2d");
        assert_eq!([&second[2], &second[7]], ["FOREIGN", ""]);
        let mut host = used();
        host.report.as_mut().unwrap().gpus[1].processes[0].blocks = false;
        assert_eq!(super::views(&host)[1].row(LOOK())[7], "a stranger uses it");
    }

    #[test]
    fn an_order_shows_before_the_worker_has_heard_of_it() {
        let mut host = used();
        let order = GpuOrder { uuid: "GPU-a".to_owned(), cordoned: true, forgive_time: None };
        host.orders = Some(HostOrders { gpus: vec![order], ..HostOrders::default() });
        let view = &views(&host)[0];
        assert_eq!((view.condition(), view.state.as_str()), ("CORDONED", "READY"));
        host.worker.as_mut().unwrap().alive = false;
        assert_eq!(views(&host)[0].condition(), "LOST");
    }

    #[test]
    fn json_has_all_of_the_report() {
        let json = serde_json::to_value(&views(&used())[1]).unwrap();
        for key in
            ["uuid", "worker_id", "report_time", "temperature_celsius", "power_watts", "until"]
        {
            assert!(json.get(key).is_some(), "{key} is missing");
        }
        assert_eq!(json["processes"][0]["pid"], 4242);
        assert_eq!(json["processes"][0]["blocks"], true);
        assert_eq!(json["processes"][0]["treatment"], "UNSPECIFIED");
    }
}
