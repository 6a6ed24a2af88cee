#!/usr/bin/env bash
# Everything that is tested of the SDKs: each language's own tests, the scenarios that all of them
# play against a real broker, and what the guides tell their readers to type. The programs have to
# be built: cargo build --workspace --bins.
#
#     sdk/test.sh [LANGUAGE…]
#
# A language whose toolchain is missing is skipped, and it is said why; where CI is set it fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ALL=()
for language in rust python go typescript java; do
    [ ! -d "sdk/$language" ] || ALL+=("$language")
done
NODE_MIN=20
JAVA_MIN=17
GO_MIN=21

have() { command -v "$1" >/dev/null 2>&1; }

# Why the toolchain of a language will not do; nothing when it will.
lacks() {
    local version
    case "$1" in
        rust) have cargo || echo "there is no cargo: https://rustup.rs" ;;
        python)
            python3 -c 'import ensurepip, venv' 2>/dev/null || echo "there is no python3 with venv"
            ;;
        go)
            have go || { echo "there is no go: https://go.dev/dl"; return; }
            version="$(go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/')"
            # From 1.21 on it fetches the version that go.mod names.
            [ "$version" -ge "$GO_MIN" ] || echo "go 1.$version is older than 1.$GO_MIN"
            ;;
        typescript)
            have node && have npm || { echo "there is no node with npm"; return; }
            version="$(node --version | sed -E 's/^v([0-9]+).*/\1/')"
            [ "$version" -ge "$NODE_MIN" ] || echo "node $version is older than $NODE_MIN"
            ;;
        java)
            have javac && have mvn || { echo "there is no JDK with Maven"; return; }
            version="$(javac -version 2>&1 | sed -E 's/^javac ([0-9]+).*/\1/')"
            [ "$version" -ge "$JAVA_MIN" ] || echo "the JDK $version is older than $JAVA_MIN"
            ;;
        *) echo "there is no such SDK" ;;
    esac
}

step() {
    local begin=$SECONDS
    echo "sdk: $*"
    "$@" || { echo "sdk: $* FAILED"; exit 1; }
    echo "sdk: ${*:1:2} took $((SECONDS - begin)) s"
}

wanted=("$@")
[ "$#" -gt 0 ] || wanted=("${ALL[@]}")
languages=()
skipped=()
for language in "${wanted[@]}"; do
    why="$(lacks "$language")"
    if [ -z "$why" ]; then
        languages+=("$language")
    elif [ -n "${CI:-}" ]; then
        echo "sdk: $language cannot be tested, and nothing may be skipped here: $why" >&2
        exit 1
    else
        skipped+=("$language: skipped, because $why")
    fi
done

export ASYNCFLOW_BIN_DIR="${ASYNCFLOW_BIN_DIR:-${CARGO_TARGET_DIR:-$PWD/target}/debug}"
step python3 -m unittest discover sdk/conformance
for language in "${languages[@]}"; do
    # Rust's own tests are the workspace's.
    [ ! -x "sdk/$language/test.sh" ] || step "sdk/$language/test.sh"
done
check=()
[ "${#skipped[@]}" -gt 0 ] || [ "$#" -gt 0 ] || check=(--check docs/sdk-conformance.md)
step python3 sdk/conformance/run.py "${languages[@]}" baseline "${check[@]}"
pages=()
if [ "$#" -eq 0 ]; then
    pages=(docs/guide/http.md)
    if [ "${#skipped[@]}" -eq 0 ]; then
        pages+=(docs/guide/hello.md README.md)
    else
        skipped+=("hello.md and README.md: skipped, because they have more than one language")
    fi
fi
for language in "${languages[@]}"; do
    pages+=("docs/guide/$language.md" "sdk/$language/README.md")
done
existing=()
for page in "${pages[@]}"; do
    # Pages without anything to run are prose.
    ! grep -qE '^ *```.* run *$' "$page" 2>/dev/null || existing+=("$page")
done
[ "${#existing[@]}" -eq 0 ] || step python3 sdk/conformance/snippets.py "${existing[@]}"
for line in "${skipped[@]}"; do
    echo "sdk: $line"
done
