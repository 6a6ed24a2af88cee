#!/usr/bin/env bash
# Installs a wheel in a fresh virtual environment, and does what a new user would: a module with a
# task, `asyncflow dev --python`, a submit, its result.
#
#     deploy/wheel/try.sh WHEEL
set -euo pipefail
wheel="$(realpath "$1")"
folder="$(mktemp -d)"
dev=""
end() {
    [ -z "$dev" ] || { kill "$dev" 2>/dev/null && wait "$dev"; } || true
    rm -rf "$folder"
}
trap end EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "$wheel"

cat >add.py <<'MODULE'
from asyncflow import task

@task("add", max_retries=2)
def add(a, b):
    print("adds")
    return a + b
MODULE

# Not the active environment: the program finds the Python beside itself.
free='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
port="$(python3 -c "$free")"
venv/bin/asyncflow dev --data-dir data --listen "127.0.0.1:$port" --governor-listen 127.0.0.1:0 \
    --http-listen 127.0.0.1:0 --python add >dev.log 2>&1 &
dev=$!
export ASYNCFLOW_BROKER="http://127.0.0.1:$port"
for _ in $(seq 300); do
    # Made by the worker, once it has asked the module.
    venv/bin/asyncflow type get add >type.log 2>&1 && break
    kill -0 "$dev" || { cat dev.log; exit 1; }
    sleep 0.1
done
result="$(venv/bin/python -c 'from add import add; print(add.submit(2, 3).result(timeout=60))')"
[ "$result" = 5 ] || { echo "add gave $result"; cat dev.log; exit 1; }
echo "$(basename "$wheel"): installed, and add.submit(2, 3).result() is $result"
