#!/usr/bin/env bash
# Installs what package-lock.json names, unless it is there already.
set -euo pipefail
cd "$(dirname "$0")"

wanted="$(node --version) $(cat package.json package-lock.json | sha256sum)"
if [ "$(cat node_modules/.installed 2>/dev/null)" != "$wanted" ]; then
    npm ci --no-audit --no-fund --loglevel=error >&2
    echo "$wanted" >node_modules/.installed
fi
