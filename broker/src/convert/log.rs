//! What tasks wrote.

use asyncflow_core::id::TaskId;
use asyncflow_proto::{time::timestamp, v1};
use asyncflow_store::{LogChunk, LogStream};

/// Rung when a task has written.
pub fn topic(id: &TaskId) -> String {
    format!("log:{id}")
}

pub fn stream_from_proto(number: i32) -> Option<LogStream> {
    match v1::LogStream::try_from(number) {
        Ok(v1::LogStream::Stdout) => Some(LogStream::Stdout),
        Ok(v1::LogStream::Stderr) => Some(LogStream::Stderr),
        Ok(v1::LogStream::System) => Some(LogStream::System),
        Ok(v1::LogStream::Unspecified) | Err(_) => None,
    }
}

pub fn chunk(chunk: LogChunk) -> v1::StreamTaskLogsResponse {
    let stream = match chunk.stream {
        LogStream::Stdout => v1::LogStream::Stdout,
        LogStream::Stderr => v1::LogStream::Stderr,
        LogStream::System => v1::LogStream::System,
    };
    v1::StreamTaskLogsResponse {
        attempt: chunk.attempt,
        stream: stream.into(),
        offset: chunk.offset,
        data: chunk.bytes.into(),
        time: Some(timestamp(chunk.time_ms)),
    }
}
