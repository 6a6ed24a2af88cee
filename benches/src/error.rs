//! Why there is no figure.

use std::io;

/// What went wrong; a measurement with errors is no measurement.
#[derive(Debug)]
pub enum BenchError {
    Io(io::Error),
    Connect(tonic::transport::Error),
    Call(Box<tonic::Status>),
    Store(asyncflow_store::StoreError),
    Other(String),
}

impl std::fmt::Display for BenchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Connect(error) => write!(f, "the broker cannot be reached: {error}"),
            Self::Call(status) => {
                write!(f, "a call failed: {:?} {}", status.code(), status.message())
            }
            Self::Store(error) => write!(f, "{error}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for BenchError {}

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
        Self::Call(Box::new(status))
    }
}

impl From<asyncflow_store::StoreError> for BenchError {
    fn from(error: asyncflow_store::StoreError) -> Self {
        Self::Store(error)
    }
}
