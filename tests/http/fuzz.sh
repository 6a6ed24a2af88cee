#!/usr/bin/env bash
# Makes what fuzz.py needs, and runs it with the arguments given.
set -euo pipefail
cd "$(dirname "$0")"

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "tests/http/fuzz.sh: skipped, because schemathesis needs Python 3.10" >&2
    [ -z "${CI:-}" ]
    exit
fi
wanted="$(sha256sum <requirements.txt)"
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
    echo "$wanted" >.venv/installed
fi
exec .venv/bin/python fuzz.py "$@"
