#!/usr/bin/env bash
# Plays the scenarios of sdk/conformance with the Python SDK: its client, and workers that run its
# tasks (`asyncflow worker --python`). Makes its virtual environment in .venv.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="$here/.venv/conformance"
wanted="$(cat "$here/pyproject.toml" | sha256sum)"
if [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
    {
        "${PYTHON:-python3}" -m venv --clear "$venv"
        # With what it needs, and from where it is: changes count at once.
        "$venv/bin/pip" install --quiet --disable-pip-version-check --editable "$here"
    } >&2
    echo "$wanted" >"$venv/installed"
fi
PYTHONPATH="$here/../conformance" exec "$venv/bin/python" "$here/conformance/runner.py" "$@"
