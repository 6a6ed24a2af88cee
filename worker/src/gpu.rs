//! Looking at GPUs: what there is, how it is, and who is on it.
//!
//! ```text
//!  host ── look ─▶ watch ── a thread of its own ─▶ provider (nvml, nvidia-smi, amd, fake, none)
//!                    │                             owner (whose is this process?)
//!                    └ a call that hangs for 10 s: an alarm, and later another thread
//! ```
//!
//! A provider is synchronous and may take its time. It decides nothing: what follows from what it
//! sees is `crate::host`.

mod amd;
mod config;
mod fake;
mod nvidia_smi;
mod nvml;
mod open;
mod owner;
mod places;
mod watch;

pub use config::{GpuConfig, ProviderChoice, VisibleAs};
pub use owner::{Attempt, Environ, Owner, ProcessOwners};
pub use watch::{GpuWatch, Look, SeenProcess};

/// Who made the GPUs, and so which variables hide them from a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vendor {
    /// There is none, or it is not known.
    #[default]
    None,
    /// `CUDA_VISIBLE_DEVICES`.
    Nvidia,
    /// `ROCR_VISIBLE_DEVICES`.
    Amd,
}

/// A GPU, as a provider sees it. Other figures that cannot be measured are zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Device {
    /// Its name for good.
    pub uuid: String,
    /// Its place in the order that its vendor's programs count in, from 0.
    pub index: i32,
    /// As its driver calls it.
    pub model: String,
    /// In all.
    pub memory_bytes: i64,
    /// By anybody.
    pub memory_used_bytes: i64,
    /// 0 to 100; `None` = it cannot be measured, as on a card in MIG mode.
    pub utilization_percent: Option<i32>,
    /// Degrees Celsius.
    pub temperature_celsius: i32,
    /// Watts.
    pub power_watts: f64,
    /// Who is on it.
    pub processes: Vec<DeviceProcess>,
}

/// A process on a GPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceProcess {
    /// Its process id.
    pub pid: i32,
    /// What it holds there.
    pub memory_bytes: i64,
    /// 0 to 100; `None` = the provider cannot tell.
    pub utilization_percent: Option<i32>,
    /// Who it is, if the provider says so itself; else the system is asked.
    pub stranger: Option<Stranger>,
}

/// A process that this worker did not start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stranger {
    /// Its user.
    pub user: String,
    /// Its command line.
    pub command: String,
    /// When it began, in Unix milliseconds; `None` = not known.
    pub start_ms: Option<i64>,
}

/// A fault that a driver told of: NVIDIA's XID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The GPU.
    pub uuid: String,
    /// Its number.
    pub xid: u32,
}

/// What a provider saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// By index.
    pub devices: Vec<Device>,
    /// Since the sample before.
    pub faults: Vec<Fault>,
}

/// Why a provider cannot be used, or not now; for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProviderError(pub String);

/// A way to look at GPUs. It is called on a thread on which it may take its time.
pub trait GpuProvider {
    /// `nvml`, `nvidia-smi`, `amd`, `fake`, `none`.
    fn name(&self) -> &'static str;

    /// Who made the GPUs.
    fn vendor(&self) -> Vendor;

    /// Looks.
    ///
    /// # Errors
    /// Nothing can be said about any GPU; the provider is opened anew before it is asked again.
    fn sample(&mut self) -> Result<Sample, ProviderError>;
}
