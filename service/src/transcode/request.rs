//! An HTTP request → the gRPC request that it means.
//!
//! The body is read and understood when the handler asks for it and not before: who has no token,
//! or comes when there is no place, is refused before anything is kept in memory for him.

use super::{
    bind,
    json::{self, Problem, Violation},
    table::{Payload, Route},
};
use crate::status;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, TryStreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header, request::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, Limited, StreamBody};
use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use std::{sync::Arc, time::Duration};
use tonic::{Status, body::Body};

/// How long a body may stand still.
const BODY_STALL_MAX: Duration = Duration::from_secs(30);
/// Flag and length in front of a message.
pub(super) const PREFIX_BYTES: usize = 5;
/// By which a stream is gone on with.
pub(super) const RESUME_FIELD: &str = "resume_token";

/// What of an HTTP request makes the message.
pub(super) struct Draft {
    pub(super) route: Arc<Route>,
    pub(super) values: Vec<String>,
    pub(super) query: Option<String>,
    /// `Last-Event-ID`.
    pub(super) resume: Option<String>,
    pub(super) body_bytes_max: usize,
}

impl Draft {
    /// The gRPC request of `parts` and `body`.
    pub(super) fn into_grpc(self, parts: Parts, body: Body) -> Request<Body> {
        let target = self.route.target.clone();
        let headers = grpc_headers(&parts.headers);
        let content = if self.route.call.is_client_streaming() {
            Body::new(StreamBody::new(self.lines(body).map_ok(Frame::data)))
        } else {
            let whole = stream::once(async move { self.whole(body).await });
            Body::new(StreamBody::new(whole.map_ok(Frame::data)))
        };
        let mut request = Request::new(content);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.into();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        *request.extensions_mut() = parts.extensions;
        request
    }

    async fn whole(self, body: Body) -> Result<Bytes, Status> {
        let text = collect(body, self.body_bytes_max).await?;
        if matches!(self.route.body, Payload::None) && !says_nothing(&text) {
            return Err(unread(&self.route));
        }
        self.message(&text).map(|message| frame(&message))
    }

    /// A message for each line of the body.
    fn lines(self, body: Body) -> impl Stream<Item = Result<Bytes, Status>> {
        stream::try_unfold((self, body, BytesMut::new(), false), |state| async move {
            let (draft, mut body, mut buffer, mut ended) = state;
            // No line ends before it.
            let mut scanned = 0;
            loop {
                let end = buffer[scanned..].iter().position(|byte| *byte == b'\n');
                let end = end.map(|at| scanned + at);
                scanned = buffer.len();
                if let Some(line) = take_line(&mut buffer, end, ended) {
                    scanned = 0;
                    if line.iter().all(u8::is_ascii_whitespace) {
                        continue;
                    }
                    let framed = frame(&draft.message(&line)?);
                    return Ok(Some((framed, (draft, body, buffer, ended))));
                }
                if ended {
                    return Ok(None);
                }
                if buffer.len() > draft.body_bytes_max {
                    return Err(too_large(draft.body_bytes_max));
                }
                // A stream may pause between its lines, but not within one.
                let next = match buffer.is_empty() {
                    true => body.frame().await,
                    false => in_time(body.frame()).await?,
                };
                match next {
                    Some(Ok(next)) => buffer.extend(next.into_data().ok()),
                    Some(Err(_)) => return Err(cut()),
                    None => ended = true,
                }
            }
        })
    }

    fn message(&self, body: &[u8]) -> Result<DynamicMessage, Status> {
        let input = self.route.call.input();
        let is_empty = body.iter().all(u8::is_ascii_whitespace);
        let mut violations = Vec::new();
        let mut message = match &self.route.body {
            Payload::Whole if !is_empty => json::read(body, &input, ""),
            Payload::Field(field) if !is_empty => {
                let mut message = DynamicMessage::new(input.clone());
                let inner = field.kind().as_message().cloned().unwrap_or_else(|| input.clone());
                json::read(body, &inner, field.name()).map(|read| {
                    message.set_field(field, Value::Message(read));
                    message
                })
            }
            _ => Ok(DynamicMessage::new(input.clone())),
        }
        .or_else(|problem| match problem {
            Problem::Malformed(message) => Err(status::malformed_message(&message)),
            Problem::Invalid(found) => {
                violations = found;
                Ok(DynamicMessage::new(input.clone()))
            }
        })?;
        if let Some(query) = &self.query {
            bind::query(&mut message, &self.route, query, &mut violations);
        }
        bind::path(&mut message, &self.route, &self.values, &mut violations);
        self.resume(&mut message);
        match violations.is_empty() {
            true => Ok(message),
            false => Err(refuse(violations)),
        }
    }

    /// A browser repeats the first address and says in a header how far it was.
    fn resume(&self, message: &mut DynamicMessage) {
        let field = message.descriptor().get_field_by_name(RESUME_FIELD);
        if let (Some(field), Some(token)) = (field, &self.resume) {
            message.set_field(&field, Value::String(token.clone()));
        }
    }
}

fn refuse(violations: Vec<Violation>) -> Status {
    status::invalid_fields(violations.into_iter().map(|v| (v.field, v.description)).collect())
}

fn take_line(buffer: &mut BytesMut, end: Option<usize>, ended: bool) -> Option<BytesMut> {
    match end {
        Some(end) => Some(buffer.split_to(end + 1)),
        None if ended && !buffer.is_empty() => Some(buffer.split()),
        None => None,
    }
}

/// The message as a frame of gRPC.
fn frame(message: &DynamicMessage) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + length);
    frame.put_u8(0);
    // A message of 4 GiB does not get past the limit of a body.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // It only fails where a buffer is full, and this one grows.
    let _ = message.encode(&mut frame);
    frame.freeze()
}

async fn collect(body: Body, most: usize) -> Result<Bytes, Status> {
    let mut limited = Limited::new(body, most);
    let mut whole = BytesMut::new();
    while let Some(next) = in_time(limited.frame()).await? {
        match next {
            Ok(next) => whole.extend(next.into_data().ok()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(too_large(most));
            }
            Err(_) => return Err(cut()),
        }
    }
    Ok(whole.freeze())
}

async fn in_time<T>(next: impl Future<Output = T>) -> Result<T, Status> {
    let late = "the body of the request stood still for 30 seconds";
    tokio::time::timeout(BODY_STALL_MAX, next).await.map_err(|_| status::malformed_message(late))
}

fn too_large(most: usize) -> Status {
    status::message_too_large(&format!("the body, or a line of it, is over {most} bytes"))
}

/// Clients that always send a body send an empty object here.
fn says_nothing(body: &[u8]) -> bool {
    let said: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    said.is_empty() || said == b"{}"
}

/// What is not read is not left aside in silence: a filter in it would be missed.
fn unread(route: &Route) -> Status {
    let asked =
        format!("{route} takes no body; its fields belong into the query, as in ?name=value");
    status::malformed_message(&asked)
}

fn cut() -> Status {
    status::malformed_message("the body of the request broke off")
}

/// What handlers may see of the headers: who calls, and how long the answer is waited for.
fn grpc_headers(headers: &HeaderMap) -> HeaderMap {
    let passes = |name: &HeaderName| {
        matches!(name.as_str(), "authorization" | "grpc-timeout" | "traceparent" | "user-agent")
            || name.as_str().starts_with("asyncflow-")
    };
    let kept = headers.iter().filter(|(name, _)| passes(name));
    let mut kept: HeaderMap = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    kept.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    kept.insert(header::TE, HeaderValue::from_static("trailers"));
    kept
}
