//! Messages as they come: server-sent events, or JSON lines.
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
use std::{convert::Infallible, time::Duration};
use tonic::{Code, Status, body::Body};

/// How long nothing is sent at most: proxies cut what is silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a browser waits before it comes back.
const BEGIN: &str = "retry: 1000\n\n";

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Events,
    Lines,
}

impl Form {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/jsonl",
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
        let text = events.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(text))), events))
    })))
}

impl Events {
    async fn next(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        if self.form == Form::Lines {
            return match self.frames.next().await {
                Ok(Some(message)) => Some(self.line(message)),
                Ok(None) => None,
                Err(status) => Some(self.fail(&status)),
            };
        }
        if !std::mem::replace(&mut self.begun, true) {
            return Some(BEGIN.into());
        }
        match tokio::time::timeout(KEEP_ALIVE, self.frames.next()).await {
            Err(_) => Some(b": keep-alive\n\n".to_vec()),
            Ok(Ok(Some(message))) => Some(self.event(message)),
            Ok(Ok(None)) => {
                self.ended = true;
                Some(b"event: end\ndata: {}\n\n".to_vec())
            }
            Ok(Err(status)) => Some(self.fail(&status)),
        }
    }

    fn fail(&mut self, status: &Status) -> Vec<u8> {
        self.ended = true;
        let text = refusal::text(status);
        match self.form {
            Form::Events => [b"event: failed\ndata: ", text.as_slice(), b"\n\n"].concat(),
            Form::Lines => [text.as_slice(), b"\n"].concat(),
        }
    }

    fn line(&mut self, message: Bytes) -> Vec<u8> {
        match self.read(message) {
            Ok((_, mut text)) => {
                text.push(b'\n');
                text
            }
            Err(status) => self.fail(&status),
        }
    }

    fn event(&mut self, message: Bytes) -> Vec<u8> {
        match self.read(message) {
            Ok((id, text)) => [id.as_bytes(), b"data: ", &text, b"\n\n"].concat(),
            Err(status) => self.fail(&status),
        }
    }

    /// The line that names the event, and the message.
    fn read(&self, message: Bytes) -> Result<(String, Vec<u8>), Status> {
        let message = DynamicMessage::decode(self.output.clone(), message)
            .map_err(|error| status::unreadable_answer(&error.to_string()))?;
        let token = message.get_field_by_name(RESUME_FIELD);
        let token = token.as_deref().and_then(Value::as_str).unwrap_or_default();
        let is_id = !token.is_empty() && !token.contains(['\n', '\r', '\0']);
        let id = if is_id { format!("id: {token}\n") } else { String::new() };
        let text =
            json::line(&message).map_err(|error| status::unreadable_answer(&error.to_string()))?;
        Ok((id, text))
    }
}
