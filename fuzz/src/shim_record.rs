//! What a shim wrote about itself, or a worker to it, is read as it was written, or not at all.

use std::fmt::Debug;

use asyncflow_worker::testing::{ExitRecord, Order, ShimRecord};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Reads the bytes as each of the three files.
pub fn check(data: &[u8]) {
    same::<ShimRecord>(data);
    same::<ExitRecord>(data);
    same::<Order>(data);
}

fn same<T: DeserializeOwned + Serialize + Debug>(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<T>(data) else { return };
    let Ok(written) = serde_json::to_vec(&record) else { panic!("cannot be written: {record:?}") };
    let Ok(again) = serde_json::from_slice::<T>(&written) else {
        panic!("cannot be read again: {}", String::from_utf8_lossy(&written));
    };
    assert_eq!(without_seconds(&again), without_seconds(&record));
}

/// Its time on cores may change in the last of its digits.
fn without_seconds(record: &impl Serialize) -> Option<Value> {
    let mut value = serde_json::to_value(record).ok()?;
    if let Some(seconds) = value.get_mut("cpu_seconds") {
        *seconds = Value::Null;
    }
    Some(value)
}
