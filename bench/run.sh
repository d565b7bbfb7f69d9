#!/usr/bin/env bash
# run.sh [--rounds N] [--build FOLDER] [--dir FOLDER]: how far is crier from what this machine could do?
#
# Runs `crier_limit` (the bare pipeline, no crier) and `crier bench e2e` on a fresh broker in turns, so that a machine that
# drifts drifts under both, and prints the medians and their ratio. The first round of each warms up and is thrown away.
set -euo pipefail

rounds=5 build=build/release folder=build/bench broker=
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2 && shift 2 ;;
    --build) build=$2 && shift 2 ;;
    --dir) folder=$2 && shift 2 ;;
    *)
        echo "usage: run.sh [--rounds N] [--build FOLDER] [--dir FOLDER]" >&2
        exit 2
        ;;
    esac
done
mkdir -p "$folder"
folder=$(mktemp -d "$folder/run.XXXXXX")

finish() {
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

number() { sed -n "s/.*\"$1\": *\\([0-9][0-9.]*\\).*/\\1/p"; } # the first such number of a JSON object

median() { sort -n | awk '{ all[NR] = $1 } END { print NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'; }

# shellcheck source=bench/broker.sh
source "$(dirname "${BASH_SOURCE[0]}")/broker.sh"

measure() { # SIZE EVENTS
    local size=$1 events=$2 round limit crier sync="" limits="" criers=""
    for ((round = 0; round <= rounds; round++)); do
        limit=$("$build/bench/crier_limit" "$size" "$events" "$folder")
        rm -rf "$folder/data"
        start_broker
        crier=$("$build/bin/crier" --url "$url" bench e2e --size "$size" --events "$events" --dir "$folder" --json)
        stop_broker
        [ $round -gt 0 ] || continue
        limits+="$(number events_per_s <<<"$limit")"$'\n'
        criers+="$(number events_per_s <<<"$crier")"$'\n'
        sync+="$(number fdatasync_us <<<"$crier")"$'\n'
        printf '  round %d: limit %s, crier %s events/s\n' $round "$(number events_per_s <<<"$limit")" \
            "$(number events_per_s <<<"$crier")" >&2
    done
    limits=$(printf %s "$limits" | median) criers=$(printf %s "$criers" | median) sync=$(printf %s "$sync" | median)
    awk -v size="$size" -v limit="$limits" -v crier="$criers" -v sync="$sync" -v rounds="$rounds" 'BEGIN {
        printf "%4d B, durable, producer to consumer: crier %.2f M/s (%.0f MB/s), limit %.2f M/s (%.0f MB/s): " \
            "%.2f of it; fdatasync %d us; medians of %d rounds\n",
            size, crier / 1e6, crier * size / 1e6, limit / 1e6, limit * size / 1e6, crier / limit, sync, rounds }'
}

echo "$(nproc) cores, $(uname -sr), $(git rev-parse --short HEAD 2>/dev/null || echo 'no commit')"
measure 100 5000000
measure 1024 1000000
