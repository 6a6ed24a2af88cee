//! Governors as operators meet them: started, asked by gRPC, killed, told to end.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;
mod process;
mod rpc;
mod shards;
mod two_governors;
