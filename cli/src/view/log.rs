//! A piece of a task's log.

use super::{content::ContentView, enum_name};
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{Content, LogStream, StreamTaskLogsResponse};
use serde::Serialize;

/// See the protocol's `StreamTaskLogsResponse`; `data` is text, or base64 where it is not UTF-8.
#[derive(Debug, Serialize)]
pub struct LogView {
    attempt: i32,
    stream: String,
    offset: i64,
    data: ContentView,
    time: Option<String>,
}

impl From<StreamTaskLogsResponse> for LogView {
    fn from(chunk: StreamTaskLogsResponse) -> Self {
        let known = LogStream::try_from(chunk.stream)
            .map(|stream| stream.as_str_name())
            .map_err(|_| chunk.stream);
        let content_type = "text/plain".to_owned();
        Self {
            attempt: chunk.attempt,
            stream: enum_name(known, "LOG_STREAM_"),
            offset: chunk.offset,
            data: Content { data: chunk.data, content_type }.into(),
            time: time::rfc3339(chunk.time.as_ref()),
        }
    }
}

impl View for LogView {
    const COLUMNS: &'static [&'static str] = &["ATTEMPT", "STREAM", "OFFSET", "DATA"];

    fn id(&self) -> String {
        self.attempt.to_string()
    }

    fn row(&self, _: Look) -> Vec<String> {
        let (attempt, offset) = (self.attempt.to_string(), self.offset.to_string());
        vec![attempt, self.stream.clone(), offset, self.data.for_people()]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        ["attempt", "stream", "offset", "data"].into_iter().zip(self.row(look)).collect()
    }
}
