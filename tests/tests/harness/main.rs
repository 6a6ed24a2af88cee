//! The harness by itself: what judges runs and breaks connections is tested before it is trusted.
//! Each check of the checker has a good history that passes and a spoilt one that is caught.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod checker;
mod proxy;
mod sample;
