#!/usr/bin/env bash
# Compiles SDK and tests and writes the class path to target/classpath; quick when nothing has
# changed. Wants JDK 17 and Maven, which gets what is missing.
set -euo pipefail
cd "$(dirname "$0")"

stamp=target/built
sources=(pom.xml src ../../proto/asyncflow)
if [ ! -e "$stamp" ] || [ -n "$(find "${sources[@]}" -newer "$stamp" -print -quit)" ]; then
    mkdir -p target
    touch "$stamp.begun"
    build=(test-compile dependency:build-classpath
        -Dmdep.outputFile=target/classpath -Dmdep.includeScope=test)
    # Without the network first: it is slow to ask whether anything is newer.
    mvn -q -B -o "${build[@]}" >/dev/null 2>&1 || mvn -q -B "${build[@]}" >&2
    mv "$stamp.begun" "$stamp"
fi
