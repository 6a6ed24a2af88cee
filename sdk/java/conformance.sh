#!/usr/bin/env bash
# Plays the scenarios given, see sdk/conformance/README.md. Wants JDK 17 and Maven.
set -euo pipefail
folder="$(cd "$(dirname "$0")" && pwd)"
"$folder/build.sh"
exec java -cp "$folder/target/test-classes:$folder/target/classes:$(cat "$folder/target/classpath")" \
    io.asyncflow.conformance.Main "$@"
