#!/usr/bin/env bash
# Plays scenarios (sdk/conformance/README.md): conformance.sh SCENARIO.json…
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

"$here/install.sh"
"$here/node_modules/.bin/tsc" -b "$here" >&2
exec node "$here/dist/conformance/main.js" "$@"
