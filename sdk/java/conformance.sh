#!/usr/bin/env bash
# Plays the scenarios given, see sdk/conformance/README.md. Wants JDK 17 and Maven.
set -euo pipefail
folder="$(cd "$(dirname "$0")" && pwd)"
"$folder/build.sh"
target="$folder/target"
exec java -cp "$target/test-classes:$target/classes:$(cat "$target/classpath")" \
    io.asyncflow.conformance.Main "$@"
