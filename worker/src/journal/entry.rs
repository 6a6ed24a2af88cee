//! One outcome as the bytes of a file, and back: all of it or nothing.
//!
//! Protobuf cannot tell a message that was cut off between two fields from a whole one: a
//! completion that has lost its result would be delivered as one that has none. So a checksum
//! stands in front, as a field that no message of the protocol has; a worker that does not know of
//! it skips it.

use std::io;

use asyncflow_sdk::{
    v1::{CompleteTaskRequest, FailTaskRequest, ReleaseTaskRequest},
    worker::SettleCall,
};
use prost::Message;
use sha2::{Digest, Sha256};

const COMPLETE: &str = "complete";
const FAIL: &str = "fail";
const RELEASE: &str = "release";
/// The ends of the names of entries.
pub const KINDS: [&str; 3] = [COMPLETE, FAIL, RELEASE];

/// Protobuf's mark of the field 2047, of eight bytes.
const CHECKSUM_TAG: [u8; 2] = [0xf9, 0x7f];
const CHECKSUM_BYTES: usize = 8;

/// The kind of an outcome, and its bytes.
pub fn encode(call: &SettleCall) -> (&'static str, Vec<u8>) {
    let (kind, message) = match call {
        SettleCall::Complete(call) => (COMPLETE, call.encode_to_vec()),
        SettleCall::Fail(call) => (FAIL, call.encode_to_vec()),
        SettleCall::Release(call) => (RELEASE, call.encode_to_vec()),
    };
    let mut bytes = CHECKSUM_TAG.to_vec();
    bytes.extend(checksum(kind, &message));
    bytes.extend(message);
    (kind, bytes)
}

/// The outcome in these bytes.
///
/// # Errors
/// They are damaged: not all that was written is there, or something else is.
pub fn decode(kind: &str, bytes: &[u8]) -> io::Result<SettleCall> {
    let message = checked(kind, bytes)?;
    let call = match kind {
        COMPLETE => CompleteTaskRequest::decode(message).map(SettleCall::Complete),
        FAIL => FailTaskRequest::decode(message).map(SettleCall::Fail),
        RELEASE => ReleaseTaskRequest::decode(message).map(SettleCall::Release),
        other => return Err(damaged(&format!("{other:?} is no kind of outcome"))),
    };
    let call = call.map_err(io::Error::other)?;
    call.lease().is_some().then_some(call).ok_or_else(|| damaged("it names no lease"))
}

/// What follows the checksum. Entries of a worker that did not know of it have none.
fn checked<'a>(kind: &str, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
    let Some(rest) = bytes.strip_prefix(&CHECKSUM_TAG) else { return Ok(bytes) };
    match rest.split_first_chunk() {
        Some((sum, message)) if *sum == checksum(kind, message) => Ok(message),
        _ => Err(damaged("its checksum does not fit")),
    }
}

fn checksum(kind: &str, message: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new().chain_update(kind).chain_update(message).finalize();
    std::array::from_fn(|at| digest[at])
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;
    use crate::journal::tests::calls;

    #[test]
    fn of_an_entry_that_was_cut_off_anywhere_nothing_is_taken() {
        for call in calls() {
            let (kind, bytes) = encode(&call);
            assert_eq!(decode(kind, &bytes).unwrap(), call);
            for end in 0..bytes.len() {
                let read = decode(kind, &bytes[..end]);
                assert!(read.is_err(), "{end} of {} bytes of {kind}: {read:?}", bytes.len());
            }
        }
    }

    #[test]
    fn of_an_entry_with_a_bit_that_is_wrong_nothing_else_is_taken() {
        for call in calls() {
            let (kind, bytes) = encode(&call);
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = decode(kind, &damaged) {
                    assert_eq!(read, call, "bit {bit} of {kind}");
                }
            }
            for other in KINDS.into_iter().filter(|other| *other != kind) {
                assert!(decode(other, &bytes).is_err(), "{kind} as {other}");
            }
        }
    }

    #[test]
    fn older_and_newer_workers_read_each_others() {
        for call in calls() {
            let (kind, bytes) = encode(&call);
            let plain = &bytes[CHECKSUM_TAG.len() + CHECKSUM_BYTES..];
            assert_eq!(decode(kind, plain).unwrap(), call);
            if let SettleCall::Complete(call) = call {
                assert_eq!(CompleteTaskRequest::decode(&bytes[..]).unwrap(), call);
            }
        }
    }
}
