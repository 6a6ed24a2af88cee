//! The variables that show a program its GPUs, and hide the others.

use super::{ledger::Holding, monitor::Monitor};
use crate::gpu::{Vendor, VisibleAs};

const NONE: &str = "-1";

/// Overrides what the task's own environment says. Empty on a host without GPUs. A container is
/// shown its own GPUs only, and counts them anew: there the names are always UUIDs, as they are
/// while a card of the host cannot be seen.
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
    // The driver may number the others anew; AMD's numbers are those of the kernel, and stay.
    let counts_on = vendor == Vendor::Amd || monitor.are_all_there();
    let visible = match visible_as {
        VisibleAs::Index if !holding.in_container && counts_on => joined(&index),
        VisibleAs::Index | VisibleAs::Uuid => joined(&String::clone),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::collections::BTreeMap;

    use super::{super::monitor::tests::monitor_of, Holding, Vendor, VisibleAs, variables};

    fn of(holding: &Holding, vendor: Vendor, visible_as: VisibleAs) -> BTreeMap<String, String> {
        let monitor = monitor_of(&["GPU-a", "GPU-b", "GPU-c"]);
        variables(holding, &monitor, vendor, visible_as).into_iter().collect()
    }

    #[test]
    fn a_program_sees_what_it_has_and_else_nothing() {
        let gpus = vec!["GPU-a".to_owned(), "GPU-c".to_owned()];
        let two = Holding { gpus, ..Holding::default() };
        let cuda = "CUDA_VISIBLE_DEVICES";
        let by_index = of(&two, Vendor::Nvidia, VisibleAs::Index);
        assert_eq!(by_index[cuda], "0,2");
        assert_eq!(by_index["CUDA_DEVICE_ORDER"], "PCI_BUS_ID");
        assert_eq!(by_index["ASYNCFLOW_GPUS"], "GPU-a,GPU-c");
        assert_eq!(of(&two, Vendor::Nvidia, VisibleAs::Uuid)[cuda], "GPU-a,GPU-c");
        let inside = Holding { in_container: true, ..two.clone() };
        assert_eq!(of(&inside, Vendor::Nvidia, VisibleAs::Index)[cuda], "GPU-a,GPU-c");
        let amd = of(&two, Vendor::Amd, VisibleAs::Index);
        assert_eq!(
            (&amd["ROCR_VISIBLE_DEVICES"][..], &amd["HIP_VISIBLE_DEVICES"][..]),
            ("0,2", "0,1")
        );
        let none = Holding::default();
        assert_eq!(of(&none, Vendor::Nvidia, VisibleAs::Index)[cuda], "-1");
        assert!(of(&none, Vendor::None, VisibleAs::Index).is_empty());
    }
}
