//! The variables that show a program its GPUs, and hide the others.

use super::{ledger::Holding, monitor::Monitor};
use crate::gpu::{Vendor, VisibleAs};

const NONE: &str = "-1";

/// Overrides what the task's own environment says. Empty on a host without GPUs.
pub fn variables(
    holding: &Holding,
    monitor: &Monitor,
    vendor: Vendor,
    visible_as: VisibleAs,
) -> Vec<(String, String)> {
    let joined = |names: &dyn Fn(&String) -> String| {
        let names: Vec<_> = holding.gpus.iter().map(names).collect();
        if names.is_empty() { NONE.to_owned() } else { names.join(",") }
    };
    let index = |uuid: &String| {
        let card = monitor.card(uuid);
        card.map_or_else(|| uuid.clone(), |card| card.device.index.to_string())
    };
    let visible = match visible_as {
        VisibleAs::Index => joined(&index),
        VisibleAs::Uuid => joined(&String::clone),
    };
    let mut variables = match vendor {
        Vendor::None => Vec::new(),
        Vendor::Nvidia => {
            vec![("CUDA_DEVICE_ORDER", "PCI_BUS_ID".to_owned()), ("CUDA_VISIBLE_DEVICES", visible)]
        }
        Vendor::Amd => {
            // What comes after the first filter counts anew.
            let anew: Vec<_> = (0..holding.gpus.len()).map(|place| place.to_string()).collect();
            let anew = if anew.is_empty() { NONE.to_owned() } else { anew.join(",") };
            vec![("ROCR_VISIBLE_DEVICES", visible), ("HIP_VISIBLE_DEVICES", anew)]
        }
    };
    if !holding.gpus.is_empty() {
        variables.push(("ASYNCFLOW_GPUS", holding.gpus.join(",")));
    }
    if holding.share_bytes > 0 {
        variables.push(("ASYNCFLOW_GPU_MEMORY_BYTES", holding.share_bytes.to_string()));
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
