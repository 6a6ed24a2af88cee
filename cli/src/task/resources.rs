//! What a task needs on its host: as flags, and in files.

use super::spec::{Pair, map_of};
use crate::{size, time, time::Span};
use asyncflow_proto::v1::Resources;
use prost_types::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error};
use std::collections::BTreeMap;

/// Brokers refuse what is more.
const GPUS_MAX: i32 = 64;
const CORES_MAX: f64 = 10_000.0;

/// Reads a number of GPUs.
pub fn parse_gpus(text: &str) -> Result<i32, String> {
    let gpus = text.parse().ok().filter(|gpus| (0..=GPUS_MAX).contains(gpus));
    gpus.ok_or_else(|| format!("a whole number from 0 to {GPUS_MAX} is wanted"))
}

fn parse_cores(text: &str) -> Result<f64, String> {
    let cores = text.parse().ok().filter(|cores| (0.0..=CORES_MAX).contains(cores));
    cores.ok_or_else(|| format!("a number of cores from 0 to {CORES_MAX} is wanted, e.g. 2.5"))
}

/// Flags about what a task needs; what is not given comes from its type.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Resources")]
pub struct ResourceArgs {
    /// GPUs that nobody else uses meanwhile, all on one host
    #[arg(long, value_name = "N", value_parser = parse_gpus, allow_negative_numbers = true)]
    gpus: Option<i32>,
    /// Memory of one GPU that others use too, e.g. `10GiB`
    #[arg(long, value_name = "SIZE", value_parser = size::parse_size, conflicts_with = "gpus",
          allow_negative_numbers = true)]
    gpu_memory: Option<i64>,
    /// Cores, e.g. `2.5`
    #[arg(long, value_name = "N", value_parser = parse_cores, allow_negative_numbers = true)]
    cpus: Option<f64>,
    /// Main memory, e.g. `16GiB`
    #[arg(long, value_name = "SIZE", value_parser = size::parse_size,
          allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Of its GPUs: the model contains this, in any case, e.g. `A100`
    #[arg(long, value_name = "MODEL")]
    gpu_model: Option<String>,
    /// Of its GPUs: each has so much memory in all
    #[arg(long, value_name = "SIZE", value_parser = size::parse_size,
          allow_negative_numbers = true)]
    min_gpu_memory: Option<i64>,
    /// Only on this host
    #[arg(long, value_name = "HOST")]
    on_host: Option<String>,
    /// Only by workers with this label; may be repeated
    #[arg(long = "worker-label", value_name = "KEY=VALUE", value_parser = Pair::parse)]
    worker_labels: Vec<Pair>,
    /// It may be asked to save and make room for others
    #[arg(long)]
    preemptible: bool,
    /// Stop it when it uses a GPU that it was not given, instead of only reporting that
    #[arg(long)]
    stop_on_trespass: bool,
    /// Stop it when its GPUs were idle for so long
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    gpu_idle_timeout: Option<Duration>,
}

impl ResourceArgs {
    /// What is needed; `None` if nothing was said of it.
    pub fn resources(&self) -> Option<Resources> {
        let resources = Resources {
            gpus: self.gpus.unwrap_or_default(),
            gpu_memory_bytes: self.gpu_memory.unwrap_or_default(),
            cpus: self.cpus.unwrap_or_default(),
            memory_bytes: self.memory.unwrap_or_default(),
            gpu_model: self.gpu_model.clone().unwrap_or_default(),
            gpu_memory_min_bytes: self.min_gpu_memory.unwrap_or_default(),
            host: self.on_host.clone().unwrap_or_default(),
            worker_labels: map_of(&self.worker_labels),
            preemptible: self.preemptible,
            stop_on_trespass: self.stop_on_trespass,
            interactive: false,
            gpu_idle_timeout: self.gpu_idle_timeout,
        };
        (resources != Resources::default()).then_some(resources)
    }
}

/// What a task needs on its host; what is left out comes from its type.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NeedsOfFile {
    /// GPUs that nobody else uses meanwhile, all on one host.
    gpus: i32,
    /// Memory of one GPU that others use too, e.g. `10GiB`; not together with `gpus`.
    #[schemars(with = "Option<SizeText>")]
    gpu_memory: Size,
    /// Cores, e.g. `2.5`.
    cpus: f64,
    /// Main memory, e.g. `16GiB`.
    #[schemars(with = "Option<SizeText>")]
    memory: Size,
    /// A GPU whose model contains this, in any case, e.g. `A100`.
    gpu_model: String,
    /// Each GPU must have so much memory in all.
    #[schemars(with = "Option<SizeText>")]
    min_gpu_memory: Size,
    /// Only on this host.
    host: String,
    /// Only by workers with these labels.
    worker_labels: BTreeMap<String, String>,
    /// It may be asked to save and make room for others.
    preemptible: bool,
    /// It is stopped when it uses a GPU that it was not given, instead of only reported.
    stop_on_trespass: bool,
    /// It is stopped when its GPUs were idle for so long, e.g. `30m`.
    #[schemars(with = "Option<String>")]
    gpu_idle_timeout: Option<Span>,
}

impl NeedsOfFile {
    /// What is asked for.
    pub fn resources(self) -> Resources {
        Resources {
            gpus: self.gpus,
            gpu_memory_bytes: self.gpu_memory.0,
            cpus: self.cpus,
            memory_bytes: self.memory.0,
            gpu_model: self.gpu_model,
            gpu_memory_min_bytes: self.min_gpu_memory.0,
            host: self.host,
            worker_labels: self.worker_labels,
            preemptible: self.preemptible,
            stop_on_trespass: self.stop_on_trespass,
            interactive: false,
            gpu_idle_timeout: self.gpu_idle_timeout.map(|Span(span)| span),
        }
    }
}

/// A size in a file.
#[derive(Debug, Clone, Copy, Default)]
struct Size(i64);

/// A size as it stands in a file.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum SizeText {
    Bytes(i64),
    Text(String),
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match SizeText::deserialize(deserializer)? {
            SizeText::Bytes(bytes) => return Ok(Self(bytes)),
            SizeText::Text(text) => text,
        };
        let size = size::parse_size(&text).map_err(|what| format!("{text:?}: {what}"));
        size.map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::source_file::parse;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ResourceArgs,
    }

    fn typed(words: &str) -> Result<Option<Resources>, clap::Error> {
        let words = std::iter::once("x").chain(words.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args.resources())
    }

    #[test]
    fn flags_and_files_say_the_same() {
        let flags = "--gpus 2 --cpus 1.5 --memory 16GiB --gpu-model a100 --min-gpu-memory 40GiB \
                     --on-host anna --worker-label room=3 --preemptible --stop-on-trespass \
                     --gpu-idle-timeout 30m";
        let file = "{gpus: 2, cpus: 1.5, memory: 16GiB, gpu_model: a100, host: anna, \
                    min_gpu_memory: 42949672960, worker_labels: {room: '3'}, preemptible: true, \
                    stop_on_trespass: true, gpu_idle_timeout: 30m}";
        let of_file = parse::<NeedsOfFile>(file).unwrap().resources();
        assert_eq!(typed(flags).unwrap().unwrap(), of_file);
        assert_eq!((of_file.gpus, of_file.memory_bytes), (2, 16 << 30));
        assert_eq!(of_file.gpu_memory_min_bytes, 40 << 30);
    }

    #[test]
    fn nothing_said_is_nothing_needed_and_nonsense_is_refused() {
        assert_eq!(typed("").unwrap(), None);
        assert_eq!(typed("--gpu-memory 10G").unwrap().unwrap().gpu_memory_bytes, 10 << 30);
        assert!(typed("--gpus 1 --gpu-memory 10GiB").is_err());
        assert!(typed("--memory lots").is_err());
        for wrong in ["--gpus -1", "--gpus 65", "--gpus 1.5", "--gpus two"] {
            let told = typed(wrong).unwrap_err().to_string();
            let said = "for '--gpus <N>': a whole number from 0 to 64 is wanted\n";
            assert!(told.contains(said), "{told}");
        }
        for wrong in ["-1", "-0.5", "10000.5", "1e300", "nan", "inf", "many"] {
            let told = typed(&format!("--cpus {wrong}")).unwrap_err().to_string();
            let said = "for '--cpus <N>': a number of cores from 0 to 10000 is wanted, e.g. 2.5\n";
            assert!(told.contains(said), "{told}");
        }
        for flag in ["--memory", "--gpu-memory", "--min-gpu-memory"] {
            let told = typed(&format!("{flag} -1")).unwrap_err().to_string();
            assert!(told.contains("write it as 10GiB"), "{told}");
        }
        assert!(parse::<NeedsOfFile>("{memory: lots}").is_err());
        assert!(parse::<NeedsOfFile>("{gpu: 1}").is_err());
    }
}
