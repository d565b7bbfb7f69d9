#!/usr/bin/env bash
# cost.sh [--rounds N] [--events N] [--build FOLDER]: what a durable event costs the client in CPU time, emitted in a flood and
# delivered; medians, in nanoseconds. The broker is a process of its own, and its time is not counted.
set -euo pipefail
rounds=5 events=5000000 build=build/release
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2 && shift 2 ;;
    --events) events=$2 && shift 2 ;;
    --build) build=$2 && shift 2 ;;
    *)
        echo "usage: cost.sh [--rounds N] [--events N] [--build FOLDER]" >&2
        exit 2
        ;;
    esac
done
folder=$(mktemp -d "${TMPDIR:-/tmp}/crier-cost.XXXXXX")
broker=''
# shellcheck disable=SC2317 # the trap calls it
finish() {
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
# shellcheck source=bench/broker.sh
source "$(dirname "${BASH_SOURCE[0]}")/broker.sh"

lines=
for ((round = 0; round < rounds; round++)); do
    rm -rf "$folder/data"
    start_broker
    lines+="$("$build/bench/bench_cost" "$url" "$events" 100)"$'\n'
    stop_broker
done
printf %s "$lines" | tr -d '{}" ' | tr ',' '\n' | tr ':' ' ' | sort -k1,1 -k2,2n | awk -v rounds="$rounds" '
    { value[$1, ++count[$1]] = $2 }
    function median(label) { return value[label, int((count[label] + 1) / 2)] }
    END {
        printf "durable emit of 100 B, in a flood: %.1f ns of user CPU time (%.1f in the kernel, %.1f by the clock)\n",
            median("emit_user_ns"), median("emit_system_ns"), median("emit_wall_ns")
        printf "delivery of it:                    %.1f ns of user CPU time (%.1f in the kernel, %.1f by the clock)\n",
            median("delivery_user_ns"), median("delivery_system_ns"), median("delivery_wall_ns")
        printf "medians of %d rounds\n", rounds
    }'
