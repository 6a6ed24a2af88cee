#!/usr/bin/env bash
# The scenarios with stubs of the released protocol. Needs grpcio and protobuf, as in tests/.venv.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
exec "${ASYNCFLOW_TEST_PYTHON:-$here/../../../tests/.venv/bin/python}" "$here/runner.py" "$@"
