//! Numbers of GPUs, in the order of the bus.

use std::collections::BTreeSet;

use super::Device;

/// The places where GPUs are or were. One that cannot be read for a while keeps its number: else
/// two cards would have the same one, and people would name the wrong card by it.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeSet<String>);

impl Places {
    /// There is a GPU at this place, whether it can be read or not.
    pub fn know(&mut self, place: &str) {
        self.0.insert(place.to_ascii_lowercase());
    }

    /// Numbers those that were read, and sorts them.
    pub fn number(&mut self, found: Vec<(String, Device)>) -> Vec<Device> {
        found.iter().for_each(|(place, _)| self.know(place));
        let number = |(place, device): (String, Device)| {
            let before = self.0.range(..place.to_ascii_lowercase()).count();
            Device { index: i32::try_from(before).unwrap_or_default(), ..device }
        };
        let mut devices: Vec<Device> = found.into_iter().map(number).collect();
        devices.sort_by_key(|device| device.index);
        devices
    }
}
