//! The W3C header `traceparent`, by which the logs of client, broker and worker are found together.

use tonic::{Request, metadata::MetadataMap};

const HEADER: &str = "traceparent";
const TRACE_ID_DIGITS: usize = 32;

/// A value of the header: a new span of this trace, or of a new one when `trace_id` is none.
pub(crate) fn traceparent(trace_id: &str) -> String {
    let is_one =
        trace_id.len() == TRACE_ID_DIGITS && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let span_id = rand::random_range(1..=u64::MAX);
    if is_one {
        format!("00-{trace_id}-{span_id:016x}-01")
    } else {
        format!("00-{}-{span_id:016x}-01", uuid::Uuid::new_v4().simple())
    }
}

/// Puts the header on a call.
pub(crate) fn mark<T>(request: &mut Request<T>, traceparent: &str) {
    insert(request.metadata_mut(), traceparent);
}

/// Puts a new trace on a call that has none.
pub(crate) fn mark_unless_marked(metadata: &mut MetadataMap) {
    if !metadata.contains_key(HEADER) {
        insert(metadata, &traceparent(""));
    }
}

fn insert(metadata: &mut MetadataMap, traceparent: &str) {
    if let Ok(value) = traceparent.parse() {
        metadata.insert(HEADER, value);
    }
}

#[cfg(test)]
mod tests {
    use super::traceparent;

    #[test]
    fn a_trace_is_gone_on_with_and_rubbish_begins_a_new_one() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert!(traceparent(id).starts_with(&format!("00-{id}-")));
        assert_ne!(traceparent(id), traceparent(id), "the span is a new one");
        for rubbish in ["", "x", "4bf92f3577b34da6a3ce929d0e0e473\n"] {
            let made = traceparent(rubbish);
            assert_eq!((made.len(), made.contains('\n')), (55, false), "{made}");
        }
    }
}
