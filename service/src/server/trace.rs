//! One trace id from client to worker, by the W3C header `traceparent`.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use tracing::Span;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace that a call belongs to; in the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: String,
    span_id: String,
}

impl TraceContext {
    /// Begins a new trace.
    #[must_use]
    pub fn generate() -> Self {
        Self { trace_id: uuid::Uuid::new_v4().simple().to_string(), span_id: new_span_id() }
    }

    /// Goes on with the trace of a `traceparent` value, in a new span; `None` if it is malformed.
    #[must_use]
    pub fn follow(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace_id, parent, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = version == "00" && parts.next().is_none();
        let later = version != "00" && version != "ff";
        let fits = is_hex(version, 2) && is_hex(parent, 16) && is_hex(flags, 2);
        let named = is_hex(trace_id, 32) && trace_id.bytes().any(|byte| byte != b'0');
        ((known || later) && fits && named)
            .then(|| Self { trace_id: trace_id.to_owned(), span_id: new_span_id() })
    }

    /// The trace of a request that came through [`super::GrpcServer`].
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// The value to send on.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }

    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let value = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
        value.and_then(Self::follow).unwrap_or_else(Self::generate)
    }

    pub(super) fn write_to(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(self.traceparent()) {
            headers.insert(TRACEPARENT, value);
        }
    }

    pub(super) fn span(&self, method: &str) -> Span {
        tracing::info_span!(
            "rpc",
            method,
            trace_id = %self.trace_id,
            caller = tracing::field::Empty
        )
    }
}

fn new_span_id() -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(16);
    id
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_is_followed_and_rubbish_begins_a_new_one() {
        let parent = format!("00-{ID}-00f067aa0ba902b7-01");
        let trace = TraceContext::follow(&parent).unwrap();
        assert_eq!(trace.trace_id(), ID);
        assert_ne!(trace.traceparent(), parent, "the span is a new one");
        assert_eq!(TraceContext::follow(&trace.traceparent()).unwrap().trace_id(), ID);
        for rubbish in [
            String::new(),
            format!("00-{ID}-00f067aa0ba902b7"),
            format!("00-{ID}-00f067aa0ba902b7-01-x"),
            format!("ff-{ID}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()),
        ] {
            assert_eq!(TraceContext::follow(&rubbish), None, "{rubbish}");
        }
    }
}
