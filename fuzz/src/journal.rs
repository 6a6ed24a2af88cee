//! An outcome that is read is written and read as the same; of one that was cut off anywhere, or
//! that another kind was written over, nothing is taken.

use asyncflow_worker::testing::{KINDS, decode, encode};

/// Longer ones are cut off at some of their bytes only.
const CUT_EVERYWHERE_BYTES_MAX: usize = 512;

/// Reads the bytes, but for the first, which says of which kind they are, as an outcome.
pub fn check(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let kind = KINDS[usize::from(*first) % KINDS.len()];
    let Ok(call) = decode(kind, bytes) else { return };
    assert!(call.lease().is_some(), "nobody knows whose outcome it is");
    let (own_kind, written) = encode(&call);
    assert_eq!(own_kind, kind);
    match decode(kind, &written) {
        // What is no number differs from itself.
        Ok(again) => assert_eq!(format!("{again:?}"), format!("{call:?}")),
        Err(error) => panic!("{error}: {call:?}"),
    }
    let step = 1 + written.len() / CUT_EVERYWHERE_BYTES_MAX;
    for end in (0..written.len()).step_by(step) {
        assert!(decode(kind, &written[..end]).is_err(), "{end} of {} bytes", written.len());
    }
    for other in KINDS.into_iter().filter(|other| *other != kind) {
        assert!(decode(other, &written).is_err(), "{kind} is taken for {other}");
    }
}
