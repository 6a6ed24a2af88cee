//! Messages as they come: server-sent events, or JSON lines; of pieces of a file their bytes alone.
//!
//! ```text
//! retry: 1000                      {"task":{…},"resume_token":"…"}
//!                                  {"task":{…},"resume_token":"…"}
//! id: <resume_token>               {"error":{…}}      only where it ended badly
//! data: {"task":{…},…}
//!
//! : keep-alive                     after 15 s without an event
//!
//! event: end                       or "failed", with the error as its data
//! data: {}
//! ```

use super::{
    answer::frame_length,
    json, refusal,
    request::{PREFIX_BYTES, RESUME_FIELD},
};
use crate::status;
use bytes::{Bytes, BytesMut};
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};
use std::time::Duration;
use tonic::{Code, Status, body::Body};

/// How long nothing is sent at most: proxies cut what is silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a browser waits before it comes back.
const BEGIN: &str = "retry: 1000\n\n";

/// The field that holds a piece of a file.
pub(super) const BYTES_FIELD: &str = "data";

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Events,
    Lines,
    Bytes,
}

impl Form {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/jsonl",
            Self::Bytes => "text/plain; charset=utf-8",
        }
    }
}

/// The messages of a gRPC answer, still encoded.
pub(super) struct Frames {
    body: Body,
    buffer: BytesMut,
    ended: bool,
}

impl Frames {
    pub(super) fn new(body: Body) -> Self {
        Self { body, buffer: BytesMut::new(), ended: false }
    }

    /// The next message; `None` at the end. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The status that the answer ended with.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(length) = frame_length(&self.buffer)
                && self.buffer.len() >= PREFIX_BYTES + length
            {
                let mut frame = self.buffer.split_to(PREFIX_BYTES + length);
                return Ok(Some(frame.split_off(PREFIX_BYTES).freeze()));
            }
            if self.ended {
                return Ok(None);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => {
                        self.ended = true;
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let status = Status::from_header_map(&trailers);
                        if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
                            return Err(status);
                        }
                    }
                },
                Some(Err(status)) => {
                    self.ended = true;
                    return Err(status);
                }
                None => self.ended = true,
            }
        }
    }
}

struct Events {
    frames: Frames,
    output: MessageDescriptor,
    form: Form,
    begun: bool,
    ended: bool,
}

/// The body of an answer that streams.
pub(super) fn events(frames: Frames, output: MessageDescriptor, form: Form) -> Body {
    let state = Events { frames, output, form, begun: false, ended: false };
    Body::new(StreamBody::new(stream::unfold(state, |mut events| async move {
        let piece = events.next().await?;
        Some((piece.map(Frame::data), events))
    })))
}

impl Events {
    /// The next piece of the body. An error cuts the connection: where the form has no place for
    /// it, what came must not look whole.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        if self.ended {
            return None;
        }
        if self.form == Form::Events {
            return Some(Ok(self.next_event().await));
        }
        let message = match self.frames.next().await {
            Ok(message) => message?,
            Err(status) => return Some(self.fail(status)),
        };
        let text = match self.form {
            Form::Bytes => self.bytes(message),
            _ => self.read(message).map(|(_, text)| [text.as_slice(), b"\n"].concat().into()),
        };
        Some(text.or_else(|status| self.fail(status)))
    }

    async fn next_event(&mut self) -> Bytes {
        if !std::mem::replace(&mut self.begun, true) {
            return BEGIN.into();
        }
        let written = match tokio::time::timeout(KEEP_ALIVE, self.frames.next()).await {
            Err(_) => return Bytes::from_static(b": keep-alive\n\n"),
            Ok(Ok(Some(message))) => self.read(message),
            Ok(Ok(None)) => {
                self.ended = true;
                return Bytes::from_static(b"event: end\ndata: {}\n\n");
            }
            Ok(Err(status)) => Err(status),
        };
        match written {
            Ok((id, text)) => [id.as_bytes(), b"data: ", &text, b"\n\n"].concat().into(),
            Err(status) => {
                self.ended = true;
                let text = refusal::text(&status);
                [b"event: failed\ndata: ", text.as_slice(), b"\n\n"].concat().into()
            }
        }
    }

    fn fail(&mut self, status: Status) -> Result<Bytes, Status> {
        self.ended = true;
        match self.form {
            Form::Bytes => Err(status),
            _ => Ok([refusal::text(&status).as_slice(), b"\n"].concat().into()),
        }
    }

    fn bytes(&self, message: Bytes) -> Result<Bytes, Status> {
        let message = self.decode(message)?;
        let data = message.get_field_by_name(BYTES_FIELD);
        Ok(data.as_deref().and_then(Value::as_bytes).cloned().unwrap_or_default())
    }

    fn decode(&self, message: Bytes) -> Result<DynamicMessage, Status> {
        DynamicMessage::decode(self.output.clone(), message)
            .map_err(|error| status::unreadable_answer(&error.to_string()))
    }

    /// The line that names the event, and the message.
    fn read(&self, message: Bytes) -> Result<(String, Vec<u8>), Status> {
        let message = self.decode(message)?;
        let token = message.get_field_by_name(RESUME_FIELD);
        let token = token.as_deref().and_then(Value::as_str).unwrap_or_default();
        let is_id = !token.is_empty() && !token.contains(['\n', '\r', '\0']);
        let id = if is_id { format!("id: {token}\n") } else { String::new() };
        let text =
            json::line(&message).map_err(|error| status::unreadable_answer(&error.to_string()))?;
        Ok((id, text))
    }
}
