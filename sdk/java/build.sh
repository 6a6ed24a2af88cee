#!/usr/bin/env bash
# Compiles SDK and tests and writes the class path to target/classpath; quick when nothing has
# changed. Wants JDK 17 and Maven, which gets what is missing.
set -euo pipefail
cd "$(dirname "$0")"

maven() { mvn -q -B -o "$@" 2>/dev/null || mvn -q -B "$@"; }

made=target/classpath
sources=(pom.xml src ../../proto/asyncflow)
if [ ! -e "$made" ] || [ -n "$(find "${sources[@]}" -newer "$made" -print -quit)" ]; then
    maven test-compile dependency:build-classpath \
        -Dmdep.outputFile="$made.new" -Dmdep.includeScope=test >&2
    mv "$made.new" "$made"
    touch "$made"
fi
