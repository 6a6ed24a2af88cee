#!/usr/bin/env bash
# Tests the Python SDK: is what is generated fresh, do the types fit (mypy, pyright), and do the
# tests pass, with the newest protobuf and the older ones that it may meet. Makes its virtual
# environments in .venv. It wants the programs of asyncflow in target/debug, or $ASYNCFLOW_BIN_DIR.
#
#   sdk/python/test.sh           everything
#   sdk/python/test.sh quick     only with the newest protobuf
set -euo pipefail
cd "$(dirname "$0")"

PYTHON="${PYTHON:-python3}"
NEWEST=7
declare -A PROTOBUF=([4]=4.25.9 [5]=5.29.5 [6]=6.33.6 [7]=7.36.2)
declare -A GRPC=([4]=1.62.3 [5]=1.71.2 [6]=1.76.0 [7]=1.85.3)
CHECKERS=(ruff==0.17.6 mypy==2.4.1 pyright==1.1.414
    types-protobuf==7.35.1.20260906 types-grpcio==1.85.0.20261028)

# Makes .venv/protobuf-N with this package's dependencies, unless it is there.
environment() {
    local major="$1" venv=".venv/protobuf-$1" wanted
    local packages=("protobuf==${PROTOBUF[$major]}" "grpcio==${GRPC[$major]}"
        googleapis-common-protos "tomli>=2; python_version < '3.11'")
    if [ "$major" = "$NEWEST" ]; then
        packages+=("${CHECKERS[@]}")
    fi
    wanted="$("$PYTHON" --version) ${packages[*]} $(cat tests/requirements.txt)"
    if [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
        "$PYTHON" -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check \
            "${packages[@]}" -r tests/requirements.txt
        echo "$wanted" >"$venv/installed"
    fi
}

./generate.sh --check
environment "$NEWEST"
newest=".venv/protobuf-$NEWEST/bin"
"$newest/ruff" check --quiet .
"$newest/mypy"
"$newest/pyright" --pythonpath "$newest/python"
export PYTHONPATH="$PWD/src" PYTHONDONTWRITEBYTECODE=1
"$newest/python" -m pytest
if [ "${1:-}" != quick ]; then
    for major in 4 5 6; do
        environment "$major"
        # The oldest is tried with everything, those between with what they load.
        tests=(tests/client/test_pure.py)
        if [ "$major" = 4 ]; then
            tests=(tests/client)
        fi
        echo "with protobuf ${PROTOBUF[$major]} and grpcio ${GRPC[$major]}:"
        ".venv/protobuf-$major/bin/python" -m pytest --quiet "${tests[@]}"
    done
fi
