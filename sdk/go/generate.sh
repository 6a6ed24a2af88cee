#!/usr/bin/env bash
# Makes asyncflowpb from proto/asyncflow/v1. With --check it changes nothing and fails when the
# committed files are stale. Wants Go and Node (buf comes by npx).
set -euo pipefail
cd "$(dirname "$0")"

BUF=@bufbuild/buf@1.75.0
made="$(mktemp -d)"
trap 'rm -rf "$made"' EXIT

if [ $# -gt 1 ] || [ "${1:---check}" != --check ]; then
    echo "usage: generate.sh [--check]" >&2
    exit 64
fi

npx --yes "$BUF" generate --output "$made"
if [ "${1:-}" = --check ]; then
    if ! diff -r -q "$made/asyncflowpb" asyncflowpb; then
        echo "sdk/go/asyncflowpb is stale: run sdk/go/generate.sh" >&2
        exit 1
    fi
else
    rm -rf asyncflowpb
    cp -r "$made/asyncflowpb" asyncflowpb
fi
