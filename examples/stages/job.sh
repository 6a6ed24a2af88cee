#!/usr/bin/env bash
# A job in three stages that goes on where it was: makes numbers, sums them up, writes a report.
# Usage: job.sh DIRECTORY [PAUSE], where DIRECTORY outlives an attempt and PAUSE is seconds a chunk.
set -euo pipefail

dir=$1
pause=${2:-0}
chunks=10
mkdir -p "$dir"

say() { printf '%s\n' "$1" >> "$ASYNCFLOW_EVENTS"; }
# What was saved last: which chunk is next, and the sum so far.
read_context() { grep -o "\"$1\":[0-9]*" "$ASYNCFLOW_CONTEXT" | cut -d: -f2 || true; }
stop_if_told() {
    if [ -e "$ASYNCFLOW_STOP" ]; then
        echo "told to stop in stage $1"
        exit 85
    fi
}
# Told to stop: the file says so, too, and it is looked at where it is safe.
trap : TERM

stage=${ASYNCFLOW_STAGE:-}
echo "attempt $ASYNCFLOW_ATTEMPT begins after stage '${stage}'"

if [ -z "$stage" ]; then
    seq 1 1000 > "$dir/numbers.tmp"
    mv "$dir/numbers.tmp" "$dir/numbers"
    say '{"event":"stage","stage":"make"}'
    stage=make
fi

if [ "$stage" = make ]; then
    chunk=$(read_context chunk)
    sum=$(read_context sum)
    chunk=${chunk:-0}
    sum=${sum:-0}
    while [ "$chunk" -lt "$chunks" ]; do
        stop_if_told sum
        first=$((chunk * 100 + 1))
        last=$((first + 99))
        part=$(sed -n "${first},${last}p" "$dir/numbers" | awk '{ sum += $1 } END { print sum }')
        sum=$((sum + part))
        chunk=$((chunk + 1))
        echo "chunk $chunk of $chunks: $sum"
        say "{\"event\":\"context\",\"data\":{\"chunk\":$chunk,\"sum\":$sum}}"
        say "{\"event\":\"progress\",\"percent\":$((100 * chunk / chunks))}"
        sleep "$pause" || true
    done
    say '{"event":"stage","stage":"sum"}'
fi

sum=${sum:-$(read_context sum)}
echo "the sum is $sum" > "$dir/report.tmp"
mv "$dir/report.tmp" "$dir/report"
say "{\"event\":\"result\",\"data\":{\"sum\":$sum}}"
