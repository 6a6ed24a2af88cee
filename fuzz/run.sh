#!/usr/bin/env bash
# Fuzzes one target after the other, or those that are named, and keeps what was found out of the
# corpora: minimise it (`cargo fuzz tmin`), give it a name, and put it into fuzz/corpus by hand.
#
#   fuzz/run.sh [--seconds N] [TARGET…]
#
# Needs a nightly toolchain; builds cargo-fuzz into target/tools the first time.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=60
if [ "${1:-}" = --seconds ]; then
    seconds=$2
    shift 2
fi
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    targets=()
    for path in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$path" .rs)"); done
fi

if ! rustup toolchain list | grep -q '^nightly'; then
    echo "fuzz/run.sh: needs a nightly toolchain: rustup toolchain install nightly" >&2
    exit 1
fi
export PATH="$PWD/target/tools/bin:$PATH"
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked --root target/tools

found=0
for target in "${targets[@]}"; do
    echo "== $target"
    grown=target/fuzz/corpus/$target
    mkdir -p "$grown"
    cargo +nightly fuzz run --features libfuzzer "$target" "$grown" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -print_final_stats=1 -timeout=20 -rss_limit_mb=4096 ||
        found=1
done
exit $found
