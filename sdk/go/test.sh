#!/usr/bin/env bash
# Tests the Go SDK: is what is generated fresh, go vet, staticcheck, gofmt, and the tests with the
# race detector, some of them against a real broker. Wants Go, a C compiler (for the race detector),
# Node (for the generator), and the programs of asyncflow in target/debug, or $ASYNCFLOW_BIN_DIR.
set -euo pipefail
cd "$(dirname "$0")"

./generate.sh --check
unformatted="$(gofmt -l .)"
if [ -n "$unformatted" ]; then
    echo "gofmt -w: $unformatted" >&2
    exit 1
fi
go vet ./...
go tool -modfile=tools/go.mod staticcheck ./...
go mod tidy -diff
# -count=1: Go does not see that the broker is another one.
go test -race -count=1 ./...
