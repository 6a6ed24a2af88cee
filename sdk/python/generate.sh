#!/usr/bin/env bash
# Makes src/asyncflow/v1 from proto/asyncflow/v1. With --check it changes nothing and fails when the
# committed files are stale.
#
# The tools are old on purpose: code that protoc 25 made runs with protobuf 4.25 and everything
# newer, while code of a newer protoc asks for a newer protobuf, which may clash with what else is
# installed beside an SDK (TensorFlow, TensorBoard, vLLM pin old ones).
set -euo pipefail
cd "$(dirname "$0")"

TOOLS=(grpcio==1.62.3 grpcio-tools==1.62.3 protobuf==4.25.9 mypy-protobuf==3.6.0 'setuptools<81')
venv=.venv/generate
output=src

if [ "${1:-}" = --check ]; then
    output="$(mktemp -d)"
    trap 'rm -rf "$output"' EXIT
elif [ $# -gt 0 ]; then
    echo "usage: generate.sh [--check]" >&2
    exit 64
fi

# The tools are there for Python 3.9 to 3.12.
suitable() {
    local python
    for python in "${PYTHON:-python3}" python3 python3.{12,11,10,9}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info >= (3, 13))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    echo "generate.sh: its tools need Python 3.9 to 3.12; set PYTHON to one" >&2
    return 1
}

if [ "$(cat "$venv/installed" 2>/dev/null)" != "${TOOLS[*]}" ]; then
    python="$(suitable)"
    "$python" -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${TOOLS[@]}"
    echo "${TOOLS[*]}" >"$venv/installed"
fi

mkdir -p "$output/asyncflow/v1"
rm -f "$output"/asyncflow/v1/*_pb2*
"$venv/bin/python" -W ignore -m grpc_tools.protoc -I ../../proto \
    --plugin=protoc-gen-mypy="$venv/bin/protoc-gen-mypy" \
    --plugin=protoc-gen-mypy_grpc="$venv/bin/protoc-gen-mypy_grpc" \
    --python_out="$output" --grpc_python_out="$output" \
    --mypy_out=quiet:"$output" --mypy_grpc_out=quiet:"$output" \
    ../../proto/asyncflow/v1/*.proto
# Messages alone: their empty service files would only import grpc.
for file in "$output"/asyncflow/v1/*_pb2_grpc.py; do
    grep -q '^class ' "$file" || rm "$file" "${file}i"
done

if [ "$output" != src ]; then
    if ! diff -r -q -x '__init__.py*' -x __pycache__ "$output/asyncflow/v1" src/asyncflow/v1; then
        echo "sdk/python/src/asyncflow/v1 is stale: run sdk/python/generate.sh" >&2
        exit 1
    fi
fi
