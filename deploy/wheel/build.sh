#!/usr/bin/env bash
# Builds the wheel with the program into target/wheels, and installs it in a fresh virtual
# environment to see it work. Takes a build of the program in the profile `release`, or in $PROFILE.
#
#     deploy/wheel/build.sh
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
venv="$root/target/tools/wheel"
[ -x "$venv/bin/maturin" ] || {
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.9,<2'
}

# What the two projects say of themselves.
said() { sed -n '/^\[project\]/,/^\[tool/p' "$1" | grep -vE '^(readme|\[|#|$)'; }
diff <(said "$root/sdk/python/pyproject.toml") <(said "$here/pyproject.toml") || {
    echo "deploy/wheel/pyproject.toml is not as sdk/python/pyproject.toml" >&2
    exit 1
}

# In a folder of its own: maturin leaves out what it takes for ignored by git, and it takes the
# package for that when it is reached through "..".
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
cp -r "$root/sdk/python/src" "$place/src"
find "$place/src" -name __pycache__ -prune -exec rm -rf {} +
sed "s|^manifest-path = .*|manifest-path = \"$root/cli/Cargo.toml\"|" "$here/pyproject.toml" \
    >"$place/pyproject.toml"
cd "$place"
"$venv/bin/maturin" build --profile "${PROFILE:-release}" --out "$root/target/wheels"
cd "$root"
"$here/try.sh" "$(ls -t "$root"/target/wheels/asyncflow_sdk-*.whl | head -n 1)"
