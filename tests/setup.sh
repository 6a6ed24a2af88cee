#!/usr/bin/env bash
# Makes a machine ready for `make test`: the database servers that the tests start themselves, and
# a virtual environment for the tests in Python. What is there is left alone, so that a second call
# takes no time and no network.
#
# On Debian and its kin it installs what it lacks, when it may (root, or sudo without a password);
# otherwise it names what is missing and fails. No service is started or enabled by it.
#
#     tests/setup.sh [toolchains]
#
# `toolchains` are those of the SDKs, which may be missing: sdk/test.sh then says what it skips.
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=tests/.venv

have() { command -v "$1" >/dev/null 2>&1; }

# The packages of what this machine lacks, one a line.
missing() {
    have cc || echo gcc libc6-dev
    [ -x /usr/sbin/mariadbd ] || have mariadbd || echo mariadb-server
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || have initdb || echo postgresql
    have redis-server || echo redis-server
    compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null ||
        compgen -G '/usr/*/lib/faketime/libfaketimeMT.so.1' >/dev/null || echo faketime
    have python3 || echo python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

# The packages of the toolchains that this machine lacks. What is packaged may be too old.
missing_toolchains() {
    have go || echo golang-go
    have node && have npm || echo nodejs npm
    have javac || echo default-jdk-headless
    have mvn || echo maven
}

# Debian starts a server as soon as its package is installed, unless this file says no.
install() {
    local sudo=() policy=/usr/sbin/policy-rc.d made_policy=
    if [ "$(id -u)" -ne 0 ]; then
        sudo=(sudo -n)
    fi
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
        "${sudo[@]}" chmod 755 "$policy"
        made_policy=1
    fi
    local status=0
    "${sudo[@]}" apt-get update &&
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install --yes --no-install-recommends "$@" || status=$?
    if [ -n "$made_policy" ]; then
        "${sudo[@]}" rm -f "$policy"
    fi
    return "$status"
}

may_install() {
    have apt-get && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }
}

if ! have cargo; then
    echo "setup: Rust is missing; see https://rustup.rs" >&2
    exit 1
fi

if [ "${1:-}" = toolchains ]; then
    mapfile -t toolchains < <(missing_toolchains | tr ' ' '\n')
    if [ "${#toolchains[@]}" -gt 0 ]; then
        if ! may_install || ! install "${toolchains[@]}"; then
            echo "setup: some SDKs cannot be tested without these packages: ${toolchains[*]}" >&2
        fi
    fi
    exit
fi

mapfile -t packages < <(missing | tr ' ' '\n')
if [ "${#packages[@]}" -gt 0 ]; then
    if ! may_install; then
        echo "setup: the tests need these packages: ${packages[*]}" >&2
        echo "setup: install them, or run this as root or with sudo" >&2
        exit 1
    fi
    install "${packages[@]}"
fi
still="$(missing)"
if [ -n "$still" ]; then
    echo "setup: still missing after the installation:" $still >&2
    exit 1
fi

wanted="$(cat tests/requirements.txt examples/digits/requirements.txt | sha256sum)"
if [ "$(cat "$VENV/installed" 2>/dev/null)" != "$wanted" ]; then
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check -r tests/requirements.txt
    echo "$wanted" >"$VENV/installed"
fi
