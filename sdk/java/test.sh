#!/usr/bin/env bash
# Tests the Java SDK: javac with all warnings as errors, and the tests, some of them against a real
# broker. Wants JDK 17, Maven, and the programs of asyncflow in target/debug, or in
# $ASYNCFLOW_BIN_DIR.
set -euo pipefail
cd "$(dirname "$0")"

./build.sh
made="$(mktemp -d)"
trap 'rm -rf "$made"' EXIT
# Apart from Maven's, so that what protoc makes is not judged.
find src -name '*.java' -print0 | xargs -0 javac --release 17 -Xlint:all -Werror -d "$made" \
    -cp "target/classes:$(cat target/classpath)"
mvn -q -B surefire:test
