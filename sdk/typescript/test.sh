#!/usr/bin/env bash
# Tests the TypeScript SDK: is what is generated fresh, do types and lint pass, and do the tests,
# some of them against a real broker. It wants the programs of asyncflow in target/debug, or in
# $ASYNCFLOW_BIN_DIR.
set -euo pipefail
cd "$(dirname "$0")"

./install.sh
if grep -n '"resolved":' package-lock.json | grep -v '"https://registry.npmjs.org/'; then
    echo "package-lock.json names hosts that not everybody reaches: see above" >&2
    exit 1
fi
./generate.sh --check
npx --no-install tsc -b
npx --no-install eslint .
node --test --test-timeout=300000 --test-reporter=spec dist/test/*.test.js
