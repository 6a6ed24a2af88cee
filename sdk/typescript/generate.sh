#!/usr/bin/env bash
# Makes src/generated from proto/asyncflow/v1 and from the messages that errors carry (proto/ beside
# this file, Google's, as they are). With --check it changes nothing and fails when the committed
# files are stale.
set -euo pipefail
cd "$(dirname "$0")"

case "${1:-}" in
    "") output=. ;;
    --check)
        output="$(mktemp -d)"
        trap 'rm -rf "$output"' EXIT
        ;;
    *)
        echo "usage: generate.sh [--check]" >&2
        exit 64
        ;;
esac

./install.sh
npx --no-install buf generate --output "$output"
if [ "$output" != . ] && ! diff -r -q "$output/src/generated" src/generated; then
    echo "sdk/typescript/src/generated is stale: run sdk/typescript/generate.sh" >&2
    exit 1
fi
