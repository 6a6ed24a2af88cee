//! `[gpu]`: how GPUs are looked at, and what follows.

use std::{fs, path::PathBuf};

use asyncflow_service::config::{Rules, Validate};
use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 24 * 3_600 * 1_000;
const STEPS_MAX: usize = 16;
const XIDS_MAX: usize = 1_000;

/// Where GPUs are known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "kebab-case")]
pub enum ProviderChoice {
    /// The first that works of NVML, `nvidia-smi`, AMD; else none.
    Auto,
    /// NVIDIA's library.
    Nvml,
    /// NVIDIA's program.
    NvidiaSmi,
    /// The files of AMD's kernel driver.
    Amd,
    /// A file.
    Fake,
    /// There are none.
    None,
}

impl TryFrom<String> for ProviderChoice {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "nvml" => Ok(Self::Nvml),
            "nvidia-smi" => Ok(Self::NvidiaSmi),
            "amd" => Ok(Self::Amd),
            "fake" => Ok(Self::Fake),
            "none" => Ok(Self::None),
            _ => {
                Err("it must be \"auto\", \"nvml\", \"nvidia-smi\", \"amd\", \"fake\" or \"none\"")
            }
        }
    }
}

/// How GPUs are named to programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "kebab-case")]
pub enum VisibleAs {
    /// By their index.
    Index,
    /// By their UUID.
    Uuid,
}

impl TryFrom<String> for VisibleAs {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "index" => Ok(Self::Index),
            "uuid" => Ok(Self::Uuid),
            _ => Err("it must be \"index\" or \"uuid\""),
        }
    }
}

/// `[gpu]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GpuConfig {
    /// Where GPUs are known from.
    pub provider: ProviderChoice,
    /// Of the fake provider.
    pub fake_file: PathBuf,
    /// NVML.
    pub nvml_library: PathBuf,
    /// The program.
    pub nvidia_smi: PathBuf,
    /// Where sysfs is.
    pub amd_root: PathBuf,
    /// How often they are looked at.
    pub sample_interval_ms: u64,
    /// A look that takes longer hangs.
    pub call_timeout_ms: u64,
    /// A stranger that holds less is let be,
    pub foreign_memory_min_bytes: u64,
    /// or less than this part of the GPU,
    pub foreign_memory_percent: u32,
    /// if it uses less than this
    pub foreign_utilization_percent: u32,
    /// over this time.
    pub foreign_window_ms: u64,
    /// How long a GPU is left alone after a stranger.
    pub cool_down_ms: u64,
    /// How long a GPU is kept out of use after its first fault, its second …
    pub quarantine_ms: Vec<u64>,
    /// Faults of the GPU.
    pub severe_xids: Vec<u32>,
    /// Faults of the program on it.
    pub application_xids: Vec<u32>,
    /// How GPUs are named to programs.
    pub visible_as: VisibleAs,
}

impl Validate for GpuConfig {
    fn validate(&self, rules: &mut Rules) {
        let needs_file = self.provider == ProviderChoice::Fake;
        rules.require(
            !needs_file || !self.fake_file.as_os_str().is_empty(),
            "fake_file",
            "provider = \"fake\" needs it",
        );
        if needs_file
            && !self.fake_file.as_os_str().is_empty()
            && let Err(error) = fs::metadata(&self.fake_file)
        {
            rules.refuse("fake_file", format!("cannot be read: {error}"));
        }
        rules.require(
            (100..=60_000).contains(&self.sample_interval_ms),
            "sample_interval_ms",
            "it must be 100 to 60,000",
        );
        rules.require(
            (100..=600_000).contains(&self.call_timeout_ms),
            "call_timeout_ms",
            "it must be 100 to 600,000",
        );
        for (key, value) in [
            ("foreign_memory_percent", self.foreign_memory_percent),
            ("foreign_utilization_percent", self.foreign_utilization_percent),
        ] {
            rules.require((1..=100).contains(&value), key, "it must be 1 to 100");
        }
        rules.require(
            i64::try_from(self.foreign_memory_min_bytes).is_ok(),
            "foreign_memory_min_bytes",
            "it must be less than 8 EiB",
        );
        rules.require(
            (1_000..=3_600_000).contains(&self.foreign_window_ms),
            "foreign_window_ms",
            "it must be a second to an hour",
        );
        rules.require(self.cool_down_ms <= DAY_MS, "cool_down_ms", "it must be at most a day");
        rules.require(
            self.quarantine_ms.len() <= STEPS_MAX
                && self.quarantine_ms.iter().all(|ms| (1..=30 * DAY_MS).contains(ms)),
            "quarantine_ms",
            "it must be at most 16 times of at most 30 days",
        );
        for (key, xids) in
            [("severe_xids", &self.severe_xids), ("application_xids", &self.application_xids)]
        {
            rules.require(xids.len() <= XIDS_MAX, key, "they must be at most 1,000");
        }
        let both = self.severe_xids.iter().find(|xid| self.application_xids.contains(xid));
        if let Some(xid) = both {
            rules.refuse("application_xids", format!("{xid} is in severe_xids too"));
        }
    }
}
