//! Labels: few, short, and with keys of one small alphabet, because they are indexed.

use std::collections::BTreeMap;

use super::{at::At, text};
use crate::{
    limits::{LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX},
    violation::{Violations, shown},
};

/// Checks a set of labels. `[i]` in the path counts in the order of the keys.
pub fn labels(labels: &BTreeMap<String, String>, at: At<'_>, violations: &mut Violations) {
    if labels.len() > LABELS_MAX {
        // Looking at each of a million would only make the attack work.
        let what = format!("{} labels are too many; at most {LABELS_MAX}", labels.len());
        return violations.add(at, what);
    }
    for (index, (key, value)) in labels.iter().enumerate() {
        let item = at.item(index);
        if !is_key(key) {
            let what = format!(
                "{} is not a label's key; 1 to {LABEL_KEY_BYTES_MAX} characters of a-z 0-9 _ . / -",
                shown(key)
            );
            violations.add(item.field("key"), what);
        }
        text::line(value, LABEL_VALUE_BYTES_MAX, item.field("value"), violations);
    }
}

/// Whether `key` may be the key of a label.
pub fn is_key(key: &str) -> bool {
    let fits = |b: u8| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'/' | b'-')
    };
    !key.is_empty() && key.len() <= LABEL_KEY_BYTES_MAX && key.bytes().all(fits)
}
