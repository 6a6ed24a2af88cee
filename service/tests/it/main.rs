//! The crate as other programs meet it: real files, real sockets, real TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod config;
mod deploy;
mod harness;
mod http;
mod server;
mod tls;
