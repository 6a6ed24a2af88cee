//! A gRPC answer → the HTTP answer.

use super::{
    json,
    refusal::{pass_headers, respond},
    request::PREFIX_BYTES,
    stream::{BYTES_FIELD, Form, Frames, events},
};
use crate::status;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::Full;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor};
use tonic::{Code, Status, body::Body};

/// The answer of a call that answers once.
pub(super) async fn once(answer: Response<Body>, output: MessageDescriptor) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    if let Some(status) = refused(&parts.headers) {
        return respond(&status);
    }
    let mut frames = Frames::new(body);
    let message = match frames.next().await {
        Ok(Some(message)) => message,
        Ok(None) => return respond(&status::unreadable_answer("it is empty")),
        Err(status) => return respond(&status),
    };
    // The status stands behind the message.
    match frames.next().await {
        Ok(None) => {}
        Ok(Some(_)) => return respond(&status::unreadable_answer("there are two")),
        Err(status) => return respond(&status),
    }
    match DynamicMessage::decode(output, message)
        .map_err(|error| error.to_string())
        .and_then(|message| json::text(&message).map_err(|error| error.to_string()))
    {
        Ok(mut text) => {
            // For who looks at it in a terminal.
            text.push(b'\n');
            with_headers(&parts.headers, "application/json", Body::new(Full::from(text)))
        }
        Err(error) => respond(&status::unreadable_answer(&error)),
    }
}

/// The answer of a call that streams, in the form that was asked for.
pub(super) fn stream(
    answer: Response<Body>,
    output: MessageDescriptor,
    form: Form,
) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    if let Some(status) = refused(&parts.headers) {
        return respond(&status);
    }
    let form = if form == Form::Bytes && !has_bytes(&output) { Form::Lines } else { form };
    let body = events(Frames::new(body), output, form);
    let mut response = with_headers(&parts.headers, form.content_type(), body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // A proxy that buffers would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Whether its messages are pieces of one text or file.
pub(super) fn has_bytes(output: &MessageDescriptor) -> bool {
    output.get_field_by_name(BYTES_FIELD).is_some_and(|field| field.kind() == Kind::Bytes)
}

/// A refusal that was told at once.
fn refused(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers).filter(|status| status.code() != Code::Ok)
}

fn with_headers(from: &HeaderMap, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    pass_headers(from, response.headers_mut());
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// The length of the message that begins here, if the whole prefix is there.
pub(super) fn frame_length(buffer: &[u8]) -> Option<usize> {
    let prefix: &[u8; PREFIX_BYTES] = buffer.first_chunk()?;
    Some(u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize)
}

/// A body of this text.
pub(super) fn plain(content_type: &'static str, text: Bytes) -> Response<Body> {
    with_headers(&HeaderMap::new(), content_type, Body::new(Full::from(text)))
}
