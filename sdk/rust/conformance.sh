#!/usr/bin/env bash
# Plays the scenarios of sdk/conformance with the Rust SDK.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo build --quiet -p asyncflow-sdk --example conformance >&2
exec "${CARGO_TARGET_DIR:-target}/debug/examples/conformance" "$@"
