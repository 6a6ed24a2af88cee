#!/usr/bin/env bash
# Plays the scenarios given, see sdk/conformance/README.md. Wants Go.
set -euo pipefail
folder="$(cd "$(dirname "$0")" && pwd)"
made="$(mktemp -d)"
trap 'rm -rf "$made"' EXIT
go build -C "$folder" -o "$made/conformance" ./internal/conformance >&2
"$made/conformance" "$@"
