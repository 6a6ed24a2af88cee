//! Which provider is there.

use super::{
    GpuConfig, GpuProvider, ProviderChoice, ProviderError, Sample, Vendor, amd::Amd, fake::Fake,
    nvidia_smi::NvidiaSmi, nvml::NvmlProvider,
};

/// A host without GPUs.
struct NoGpus;

impl GpuProvider for NoGpus {
    fn name(&self) -> &'static str {
        "none"
    }

    fn vendor(&self) -> Vendor {
        Vendor::None
    }

    fn sample(&mut self) -> Result<Sample, ProviderError> {
        Ok(Sample::default())
    }
}

/// Why a provider was not opened.
pub(super) enum NotOpened {
    /// There is nothing of that kind: the next one is asked.
    Absent(String),
    /// There is something, and it does not work.
    Broken { name: &'static str, vendor: Vendor, message: String },
}

/// The provider that the configuration asks for.
///
/// # Errors
/// There is one that does not work, or the one that is asked for by name is not there.
pub(super) fn open(config: &GpuConfig) -> Result<Box<dyn GpuProvider>, NotOpened> {
    match config.provider {
        ProviderChoice::None => Ok(Box::new(NoGpus)),
        ProviderChoice::Fake => Ok(Box::new(Fake::open(&config.fake_file))),
        ProviderChoice::Nvml => missing_is_broken("nvml", Vendor::Nvidia, nvml(config)),
        ProviderChoice::NvidiaSmi => {
            missing_is_broken("nvidia-smi", Vendor::Nvidia, nvidia_smi(config))
        }
        ProviderChoice::Amd => missing_is_broken("amd", Vendor::Amd, amd(config)),
        ProviderChoice::Auto => {
            for ways in [nvml, nvidia_smi, amd] {
                match ways(config) {
                    Err(NotOpened::Absent(why)) => tracing::debug!(why, "no GPUs this way"),
                    found => return found,
                }
            }
            Ok(Box::new(NoGpus))
        }
    }
}

type Opened = Result<Box<dyn GpuProvider>, NotOpened>;

fn nvml(config: &GpuConfig) -> Opened {
    NvmlProvider::open(&config.nvml_library).map(|provider| Box::new(provider) as _)
}

fn nvidia_smi(config: &GpuConfig) -> Opened {
    NvidiaSmi::open(&config.nvidia_smi).map(|provider| Box::new(provider) as _)
}

fn amd(config: &GpuConfig) -> Opened {
    Amd::open(&config.amd_root).map(|provider| Box::new(provider) as _)
}

/// What was asked for by name has to be there.
fn missing_is_broken(name: &'static str, vendor: Vendor, opened: Opened) -> Opened {
    opened.map_err(|error| match error {
        NotOpened::Absent(message) => NotOpened::Broken { name, vendor, message },
        broken @ NotOpened::Broken { .. } => broken,
    })
}
