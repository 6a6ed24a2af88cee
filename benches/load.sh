#!/usr/bin/env bash
# Puts load on a broker of each database, scenario by scenario; every figure is a line of JSON in
# target/bench/load.jsonl, and one that a person reads on stdout. Some are drawn in the end.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target/bench
lines=target/bench/load.jsonl
: > "$lines"

load() {
    target/release/asyncflow-bench load "$@" | tee -a "$lines" | python3 -c '
import json, sys
for line in sys.stdin:
    got = json.loads(line)
    told = [got["database"], got["measure"], *sys.argv[1:]]
    for key, value in got.items():
        if key not in ("errors", "settings", "machine") and isinstance(value, (int, float)):
            told.append(f"{key}={value:,.3f}".rstrip("0").rstrip("."))
    print(*told)' "${@:2}"
}

for database in sqlite mariadb postgres; do
    load create --database "$database" --in-flight 256
    load batch --database "$database"
    load stream --database "$database"
    load start --database "$database" --rate 200
    load drain --database "$database" --count 100000
    # What scale costs.
    load drain --database "$database" --count 30000 --context-bytes 8192
    load types --database "$database" --count 30000 --types 1
    load types --database "$database" --count 30000 --types 100
    load workers --database "$database" --workers 1000 --busy --count 30000
done
for database in mariadb postgres; do
    # An urgent task of another broker.
    load start --database "$database" --brokers 2 --urgent 100 --rate 200
    for brokers in 2 4; do
        load drain --database "$database" --brokers "$brokers" --count 30000
    done
done
target/release/asyncflow-bench plot --lines "$lines" --output docs/bench-load.svg
