//! What every process of asyncflow needs in order to be run, and nothing about tasks.
//!
//! | module | answers |
//! |---|---|
//! | [`config`] | which settings are in force, and what is wrong with them, all at once |
//! | [`telemetry`] | how logs, metrics and panics leave the process |
//! | [`server`] | how a gRPC server is built: limits, TLS, tokens, deadlines, traces |
//! | [`transcode`] | how the same calls are made as JSON over plain HTTP, and by gRPC-Web |
//! | [`health`], [`http`] | who may ask whether it lives, and what it counts |
//! | [`auth`], [`secret_file`] | who calls |
//! | [`shutdown`] | how it ends: drain first, stop after |
//! | [`identity`], [`clock`] | which process this is, and what time it has |
//! | `allocator` | where its memory comes from |

mod allocator;
pub mod auth;
pub mod clock;
pub mod config;
pub mod health;
pub mod http;
pub mod identity;
pub mod secret_file;
pub mod server;
pub mod shutdown;
pub mod status;
pub mod telemetry;
pub mod transcode;
