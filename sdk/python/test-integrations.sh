#!/usr/bin/env bash
# Tests the callbacks with the real libraries, and the example that uses one: trainings that are
# killed in mid-epoch. Makes a virtual environment in .venv/integrations, of about 6 GB, because the
# PyTorch of PyPI brings all of CUDA; that takes a few minutes, once. The tests take four more.
#
#   sdk/python/test-integrations.sh
#
# `make test-sdk` runs the same tests without the libraries, and then says that they are skipped.
# The programs of asyncflow are taken from target/debug, or from $ASYNCFLOW_BIN_DIR.
set -euo pipefail
cd "$(dirname "$0")"

venv=.venv/integrations
wanted="$(python3 --version) $(cat tests/requirements-integrations.txt)"
if [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        -r tests/requirements-integrations.txt
    echo "$wanted" >"$venv/installed"
fi
export PYTHONPATH="$PWD/src" PYTHONDONTWRITEBYTECODE=1
"$venv/bin/python" -m pytest -ra tests/task/integrations
"$venv/bin/python" -m unittest discover ../../examples/lightning
