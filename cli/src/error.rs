//! What goes wrong, told to people, and the exit code that scripts see.

use asyncflow_sdk::Error as SdkError;
use std::io;
use tonic::Code;

/// Exit codes of the client commands. `run` and `task wait` pass the task's own on.
pub mod exit {
    pub const OK: u8 = 0;
    pub const ERROR: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const NOT_FOUND: u8 = 3;
    pub const UNREACHABLE: u8 = 5;
    /// The task was cancelled, or the command was interrupted.
    pub const CANCELLED: u8 = 130;
}

/// What a client command ends with: an exit code, or an error that has one.
pub type Outcome = Result<u8, CliError>;

/// Why a client command ends without doing what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A server refused the call or could not be reached.
    #[error("{}", told(.error, .server, .address))]
    Call {
        /// What came back.
        error: SdkError,
        /// `broker` or `governor`.
        server: &'static str,
        /// Where it was looked for.
        address: String,
    },
    /// A create that may have been carried out although no answer came.
    #[error(
        "{0}\n  whether the task was created is not known: the same command with --request-id {1} \
         gives the one task, made now or before (after --delay: ALREADY_EXISTS, if before); \
         `asyncflow task list` shows what is there"
    )]
    Unconfirmed(Box<CliError>, String),
    /// The command line cannot be followed; nothing was sent.
    #[error("{0}")]
    Usage(String),
    /// What the command is about does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
    /// Standard output is closed or full.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// A usage error about a file.
    pub fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::Usage(format!("cannot read {}: {error}", path.display()))
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Call { error: SdkError::Config(_), .. } | Self::Usage(_) => exit::USAGE,
            Self::Call { error, .. } if error.is_not_found() => exit::NOT_FOUND,
            Self::Call { error, .. } if error.is_unreachable() => exit::UNREACHABLE,
            Self::NotFound(_) => exit::NOT_FOUND,
            Self::Unconfirmed(error, _) => error.exit_code(),
            // The reader had enough (`… | head`), which is no error.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::OK,
            Self::Call { .. } | Self::Failed(_) | Self::Output(_) => exit::ERROR,
        }
    }

    /// Whether nothing should be said about it.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn told(error: &SdkError, server: &str, address: &str) -> String {
    let at = format!("the {server} at {address}");
    if let SdkError::Config(message) = error {
        return format!("cannot use {at}: {message}");
    }
    match error.code() {
        Code::Unauthenticated => format!(
            "{at} wants to know who you are: {error}\n  \
             set ASYNCFLOW_TOKEN, or give --token-file (ASYNCFLOW_TOKEN_FILE)"
        ),
        _ if error.is_unreachable() && error.reason().is_none() => {
            let cause = root_cause(error);
            format!("cannot reach {at}: {cause}\n  {}", advice(&cause, server, address))
        }
        // Whatever answers there, it is not what was looked for.
        Code::Unimplemented if error.reason().is_none() => format!(
            "what answers at {address} is no {server}, or one of another version: {error}\n  \
             another address is given by --{server} or {}",
            variable(server),
        ),
        _ => refused(error),
    }
}

/// What to look at, by what the connection failed of.
fn advice(cause: &str, server: &str, address: &str) -> String {
    if cause.contains("certificate") {
        return "is --ca-file (ASYNCFLOW_CA_FILE) the authority that signed its certificate, and \
                does the certificate name this address?"
            .to_owned();
    }
    // What a server that speaks TLS answers to one that does not.
    if address.starts_with("http://") && cause.contains("frame with invalid size") {
        return "does it want https://?".to_owned();
    }
    format!(
        "is it running? `asyncflow dev` starts one; another address is given by --{server} or {}",
        variable(server)
    )
}

fn variable(server: &str) -> &'static str {
    if server == "broker" { "ASYNCFLOW_BROKER" } else { "ASYNCFLOW_GOVERNOR" }
}

/// The server's words, every violation, and where the reason is explained.
fn refused(error: &SdkError) -> String {
    let mut text = match error.message() {
        "" => error.code().to_string(),
        message => message.to_owned(),
    };
    for violation in error.violations() {
        let line = format!("{}: {}", violation.field, violation.description);
        // A single one is the message already.
        if line != error.message() {
            text.push_str(&format!("\n  {line}"));
        }
    }
    if let Some(reason) = error.reason() {
        if reason == "UNKNOWN_TASK_TYPE" {
            text.push_str("\n  an administrator makes one by `asyncflow type create NAME`");
        }
        text.push_str(&format!("\n  ({reason}, see docs/errors/{reason}.md)"));
    }
    text
}

/// "tcp connect error" says less than what lies under it.
fn root_cause(error: &SdkError) -> String {
    let SdkError::Status(status) = error else { return error.to_string() };
    let mut cause: &dyn std::error::Error = status.as_ref();
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<tonic::Status>() {
        Some(status) => status.message().to_owned(),
        None => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Status;

    fn call(status: Status) -> CliError {
        let address = "http://h:1".to_owned();
        CliError::Call { error: status.into(), server: "broker", address }
    }

    #[test]
    fn every_kind_has_its_exit_code() {
        for (error, code) in [
            (call(Status::not_found("no such task")), exit::NOT_FOUND),
            (call(Status::unavailable("gone")), exit::UNREACHABLE),
            (call(Status::invalid_argument("bad")), exit::ERROR),
            (CliError::Usage("bad".into()), exit::USAGE),
            (CliError::NotFound("none".into()), exit::NOT_FOUND),
            (CliError::Failed("bad".into()), exit::ERROR),
            (CliError::Output(io::ErrorKind::BrokenPipe.into()), exit::OK),
        ] {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }

    #[test]
    fn advice_fits_what_went_wrong() {
        let invalid = "invalid peer certificate: UnknownIssuer";
        for (status, part) in [
            (Status::unavailable(invalid), "--ca-file"),
            (Status::unavailable("frame with invalid size"), "https://"),
            (Status::unimplemented("Operation is not implemented"), "no broker"),
        ] {
            let text = call(status).to_string();
            assert!(text.contains(part) && !text.contains("is it running"), "{text}");
        }
    }

    #[test]
    fn an_unreachable_broker_is_told_with_what_to_do() {
        let text = call(Status::unavailable("connection refused")).to_string();
        for part in ["http://h:1", "connection refused", "asyncflow dev", "ASYNCFLOW_BROKER"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
