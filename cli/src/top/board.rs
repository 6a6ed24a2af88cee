//! From what the hosts told to rows: pure, so that it is tested without a terminal.

use super::history::{History, memory_percent};
use crate::{
    fleet,
    output::{Look, View},
    time,
    view::{
        bytes_for_people,
        gpu::{self, GpuView, ProcessView},
        host::HostView,
    },
};
use asyncflow_proto::v1::{Gpu, Host, RunningTask};

/// By what GPUs and tasks are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    #[default]
    Place,
    Utilization,
    Memory,
    User,
}

impl Sort {
    /// The one that follows when `s` is typed.
    pub fn next(self) -> Self {
        match self {
            Self::Place => Self::Utilization,
            Self::Utilization => Self::Memory,
            Self::Memory => Self::User,
            Self::User => Self::Place,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Place => "place",
            Self::Utilization => "utilisation",
            Self::Memory => "memory",
            Self::User => "user",
        }
    }
}

/// How a row is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Busy,
    Warning,
    Alarm,
}

/// One line of a table.
#[derive(Debug)]
pub struct Row {
    pub cells: Vec<String>,
    pub tone: Tone,
}

/// One table.
#[derive(Debug)]
pub struct Pane {
    pub title: &'static str,
    pub columns: &'static [&'static str],
    pub rows: Vec<Row>,
}

/// All that is to be seen.
#[derive(Debug)]
pub struct Board {
    pub alarms: Vec<String>,
    /// Hosts, GPUs, tasks, strangers.
    pub panes: [Pane; 4],
    /// How old the oldest of the reports is, e.g. `3s`; empty without one.
    pub age: String,
}

/// A row with what it is sorted by.
struct Sortable {
    row: Row,
    utilization: i64,
    memory: i64,
    user: String,
}

impl Board {
    pub fn new(hosts: &[Host], history: &History, sort: Sort, look: Look) -> Self {
        let views: Vec<HostView> = hosts.iter().cloned().map(Into::into).collect();
        let gpus = hosts.iter().flat_map(|host| gpu_rows(host, history, look));
        let tasks = hosts.iter().flat_map(|host| task_rows(host, look));
        let strangers = hosts.iter().flat_map(|host| stranger_rows(host, look));
        let reported = hosts.iter().filter_map(|host| host.report_time.as_ref());
        let oldest = reported.min_by_key(|time| (time.seconds, time.nanos));
        Self {
            alarms: views.iter().filter_map(|view| view.remark(look)).collect(),
            panes: [
                Pane {
                    title: "Hosts",
                    columns: HostView::COLUMNS,
                    rows: views.iter().map(|view| host_row(view, look)).collect(),
                },
                Pane { title: "GPUs", columns: GPU_COLUMNS, rows: sorted(gpus, sort) },
                Pane { title: "Tasks", columns: TASK_COLUMNS, rows: sorted(tasks, sort) },
                Pane {
                    title: "Processes that asyncflow did not start",
                    columns: STRANGER_COLUMNS,
                    rows: sorted(strangers, sort),
                },
            ],
            age: time::elapsed(oldest, None, look.now_ms),
        }
    }
}

fn sorted(rows: impl Iterator<Item = Sortable>, sort: Sort) -> Vec<Row> {
    let mut rows: Vec<Sortable> = rows.collect();
    // Stable: what is equal stays in the order of hosts and indices.
    match sort {
        Sort::Place => {}
        Sort::Utilization => rows.sort_by_key(|row| -row.utilization),
        Sort::Memory => rows.sort_by_key(|row| -row.memory),
        // Nobody's stand last.
        Sort::User => rows.sort_by_key(|row| (row.user.is_empty(), row.user.clone())),
    }
    rows.into_iter().map(|row| row.row).collect()
}

fn host_row(view: &HostView, look: Look) -> Row {
    let tone = match view.condition {
        "ALIVE" => Tone::Plain,
        "LOST" => Tone::Alarm,
        _ => Tone::Warning,
    };
    Row { cells: view.row(look), tone }
}

const GPU_COLUMNS: &[&str] =
    &["GPU", "MODEL", "STATE", "UTIL", "UTILISATION", "MEM", "MEMORY", "USED", "WHO"];

fn gpu_rows(host: &Host, history: &History, look: Look) -> Vec<Sortable> {
    let views = gpu::views(host);
    let rows = fleet::gpus(host).iter().zip(&views);
    rows.map(|(gpu, view)| gpu_row(host, gpu, view, history, look)).collect()
}

fn gpu_row(host: &Host, gpu: &Gpu, view: &GpuView, history: &History, look: Look) -> Sortable {
    let tone = match view.condition() {
        "READY" if view.is_free() => Tone::Plain,
        "READY" => Tone::Busy,
        "QUARANTINED" | "BROKEN" | "LOST" => Tone::Alarm,
        _ => Tone::Warning,
    };
    let (users, why) = (users_of(host, gpu), view.why(look));
    let who = match (users.is_empty(), why.is_empty()) {
        (true, _) => why,
        (false, true) => users.join(" "),
        (false, false) => format!("{}: {why}", users.join(" ")),
    };
    let memory = memory_percent(gpu);
    Sortable {
        row: Row {
            cells: vec![
                format!("{}:{}", fleet::name(host), gpu.index),
                gpu.model.clone(),
                view.condition().to_owned(),
                format!("{:>3} %", gpu.utilization_percent),
                history.utilization(&gpu.uuid),
                format!("{memory:>3} %"),
                history.memory(&gpu.uuid),
                bytes_for_people(gpu.memory_used_bytes),
                who,
            ],
            tone,
        },
        utilization: i64::from(gpu.utilization_percent),
        memory: gpu.memory_used_bytes,
        user: users.into_iter().next().unwrap_or_default(),
    }
}

/// Whose tasks and processes are there, each once.
fn users_of(host: &Host, gpu: &Gpu) -> Vec<String> {
    let running = host.report.iter().flat_map(|report| &report.running);
    let tasks = running.filter(|task| gpu.task_ids.contains(&task.task_id));
    let users = tasks.map(|task| &task.user).chain(gpu.processes.iter().map(|it| &it.user));
    let mut each: Vec<String> = Vec::new();
    for user in users.filter(|user| !user.is_empty()) {
        if !each.contains(user) {
            each.push(user.clone());
        }
    }
    each
}

const TASK_COLUMNS: &[&str] =
    &["TASK", "USER", "NAME", "WHERE", "UTIL", "GPU MEMORY", "MEMORY", "CORES", "ENDS"];

fn task_rows(host: &Host, look: Look) -> Vec<Sortable> {
    let running = host.report.iter().flat_map(|report| &report.running);
    running.map(|task| task_row(host, task, look)).collect()
}

fn task_row(host: &Host, task: &RunningTask, look: Look) -> Sortable {
    let index = |uuid: &String| {
        let gpu = fleet::gpus(host).iter().find(|gpu| gpu.uuid == *uuid);
        gpu.map_or_else(|| uuid.clone(), |gpu| gpu.index.to_string())
    };
    let indices: Vec<String> = task.gpus.iter().map(index).collect();
    let place = if indices.is_empty() { String::new() } else { format!(":{}", indices.join(",")) };
    let trespasses = !task.trespassed_gpus.is_empty();
    let name = if trespasses { format!("{} TRESPASSES", task.name) } else { task.name.clone() };
    Sortable {
        row: Row {
            cells: vec![
                task.task_id.clone(),
                task.user.clone(),
                name.trim_start().to_owned(),
                format!("{}{place}", fleet::name(host)),
                format!("{:>3} %", task.gpu_utilization_percent),
                bytes_for_people(task.gpu_memory_bytes),
                bytes_for_people(task.memory_bytes),
                format!("{:.1}", task.cpus),
                time::relative(task.end_time_max.as_ref(), look.now_ms),
            ],
            tone: if trespasses { Tone::Alarm } else { Tone::Plain },
        },
        utilization: i64::from(task.gpu_utilization_percent),
        memory: task.gpu_memory_bytes,
        user: task.user.clone(),
    }
}

const STRANGER_COLUMNS: &[&str] = &["GPU", "USER", "MEMORY", "PROCESS"];

fn stranger_rows(host: &Host, look: Look) -> Vec<Sortable> {
    let processes = fleet::gpus(host)
        .iter()
        .flat_map(|gpu| gpu.processes.iter().map(move |process| (gpu, process)));
    let row = |(gpu, process): (&Gpu, &asyncflow_proto::v1::GpuProcess)| Sortable {
        row: Row {
            cells: vec![
                format!("{}:{}", fleet::name(host), gpu.index),
                process.user.clone(),
                bytes_for_people(process.memory_bytes),
                ProcessView::from(process).told(look),
            ],
            tone: if process.blocks { Tone::Warning } else { Tone::Plain },
        },
        utilization: i64::from(process.utilization_percent),
        memory: process.memory_bytes,
        user: process.user.clone(),
    };
    processes.map(row).collect()
}
