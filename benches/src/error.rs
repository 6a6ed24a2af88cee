//! Why there is no figure.

use std::io;
use tonic::Code;

/// What went wrong; a measurement with errors is no measurement.
#[derive(Debug)]
pub enum BenchError {
    Io(io::Error),
    Connect(tonic::transport::Error),
    /// The broker refused a call, or did not answer.
    Call(asyncflow_sdk::Error),
    /// A call was due, but too many others were not answered.
    NotSent,
    Store(asyncflow_store::StoreError),
    Other(String),
}

impl std::fmt::Display for BenchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Connect(error) => write!(f, "the broker cannot be reached: {error}"),
            Self::Call(error) => write!(f, "a call failed: {} {error}", in_capitals(error.code())),
            Self::NotSent => f.write_str("a call was never sent: too many were not answered"),
            Self::Store(error) => write!(f, "{error}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for BenchError {}

impl BenchError {
    /// The gRPC code, as the protocol writes it; of other errors a word like one.
    pub fn code(&self) -> String {
        match self {
            Self::Call(error) => in_capitals(error.code()),
            Self::NotSent => "NOT_SENT".to_owned(),
            Self::Connect(_) => "CONNECT".to_owned(),
            Self::Io(_) | Self::Store(_) | Self::Other(_) => "OTHER".to_owned(),
        }
    }

    /// Whether the call was not answered within its time.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Call(error) if error.code() == Code::DeadlineExceeded)
    }
}

/// `DeadlineExceeded` is DEADLINE_EXCEEDED.
fn in_capitals(code: Code) -> String {
    let mut text = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

impl From<io::Error> for BenchError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<tonic::transport::Error> for BenchError {
    fn from(error: tonic::transport::Error) -> Self {
        Self::Connect(error)
    }
}

impl From<tonic::Status> for BenchError {
    fn from(status: tonic::Status) -> Self {
        // It tells a deadline that has passed here from a call that was cancelled.
        Self::Call(status.into())
    }
}

impl From<asyncflow_sdk::Error> for BenchError {
    fn from(error: asyncflow_sdk::Error) -> Self {
        Self::Call(error)
    }
}

impl From<asyncflow_store::StoreError> for BenchError {
    fn from(error: asyncflow_store::StoreError) -> Self {
        Self::Store(error)
    }
}
