#!/usr/bin/env bash
# start.sh [--json] [--priority] [--topics N] [--gigabytes N] [--starts N] [--build FOLDER] [--dir FOLDER]:
# how long until a broker serves?
#
# Fills a folder with so many topics and bytes, stops the broker, and starts it again and again on the warm cache. Prints the
# times crierd itself logs (`serving after N ms`), from before it opens a file: median and 95th percentile, and the median of
# its CPU time, which says more on a machine with other work. --priority: what is timed runs before that work (SCHED_FIFO,
# which takes root), and waits for it at the disk only. The folder is removed at the end.
set -euo pipefail

topics=100000 gigabytes=1 starts=20 build=build/release folder=build/bench json=0 before=() broker=
while [ $# -gt 0 ]; do
    case $1 in
    --json) json=1 && shift ;;
    --priority) before=(chrt --fifo 1) && shift ;;
    --topics) topics=$2 && shift 2 ;;
    --gigabytes) gigabytes=$2 && shift 2 ;;
    --starts) starts=$2 && shift 2 ;;
    --build) build=$2 && shift 2 ;;
    --dir) folder=$2 && shift 2 ;;
    *)
        echo "usage: start.sh [--json] [--priority] [--topics N] [--gigabytes N] [--starts N] [--build FOLDER] [--dir FOLDER]" >&2
        exit 2
        ;;
    esac
done
mkdir -p "$folder"
folder=$(mktemp -d "$folder/start.XXXXXX")

finish() {
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

# shellcheck source=bench/broker.sh
source "$(dirname "${BASH_SOURCE[0]}")/broker.sh"

start_broker
"$build/bench/crier_fill" "$url" "$topics" $((gigabytes * 1000000000)) 65536
stop_broker
# shellcheck disable=SC2034 # start_broker reads it
under=("${before[@]}")
for ((i = 0; i < starts; i++)); do
    start_broker
    sed -n 's/.*serving after \([0-9.]*\) ms (\([0-9.]*\) ms .*/\1 \2/p' "$folder/log"
    stop_broker
done >"$folder/times"
cpu=$(cut -d' ' -f2 "$folder/times" | sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }')
sort -n "$folder/times" | awk -v topics="$topics" -v cpu="$cpu" -v json="$json" -v size="$(du -sm "$folder/data" | cut -f1)" '
{ all[NR] = $1 } END {
    median = all[int((NR + 1) / 2)]; p95 = all[int(NR * 0.95 + 0.999999)]
    if (json)
        printf "{\"topics\": %d, \"mb\": %d, \"starts\": %d, \"serving_ms\": %.1f, \"serving_p95_ms\": %.1f, \"cpu_ms\": %.1f}\n",
            topics, size, NR, median, p95, cpu
    else
        printf "%d topics, %d MB: serving after %d ms (median), %d ms (95th percentile of %d starts, warm, clean stops); " \
               "CPU time %d ms (median)\n", topics, size, median, p95, NR, cpu }'
