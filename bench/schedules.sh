#!/usr/bin/env bash
# schedules.sh [--json] [--events N] [--seconds N] [--rate N] [--step N] [--build FOLDER] [--dir FOLDER]: how late do events with a
# time come, how long does a start take while they wait, and what memory do they cost?
#
# N events are scheduled, due evenly over so many seconds, some time ahead; the broker is killed and started again, stopped and
# started again; a producer emits at a constant rate, with a listener, first alone and then while they come due. Late is what the
# handler of a listener sees, by the wall clock, beside the latency of what is emitted at once, which the machine decides. Memory
# is the broker's own (RssAnon): LMDB's files are mapped, and the page cache's.
# --step N: not in the order of their times (see schedules.c).
set -euo pipefail

events=1000000 seconds=60 rate=100000 step=1 build=build/release folder=build/bench json=0 broker=
while [ $# -gt 0 ]; do
    case $1 in
    --json) json=1 && shift ;;
    --events) events=$2 && shift 2 ;;
    --seconds) seconds=$2 && shift 2 ;;
    --rate) rate=$2 && shift 2 ;;
    --step) step=$2 && shift 2 ;;
    --build) build=$2 && shift 2 ;;
    --dir) folder=$2 && shift 2 ;;
    *)
        echo "usage: schedules.sh [--json] [--events N] [--seconds N] [--rate N] [--step N] [--build FOLDER] [--dir FOLDER]" >&2
        exit 2
        ;;
    esac
done
mkdir -p "$folder"
folder=$(mktemp -d "$folder/schedules.XXXXXX")
hears="" alone_s=10

finish() {
    [ -z "$hears" ] || kill "$hears" 2>/dev/null || true
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

# shellcheck source=bench/broker.sh
source "$(dirname "${BASH_SOURCE[0]}")/broker.sh"

memory_kb() { awk '/^RssAnon/ { print $2 }' "/proc/$broker/status"; }
serving_ms() { sed -n 's/.*serving after \([0-9.]*\) ms.*/\1/p' "$folder/log"; }
field() { sed -n "s/.*\"$1\": *\\([0-9][0-9.]*\\).*/\\1/p" | head -n 1; }

produce() { # SECONDS
    "$build/bin/crier" --url "$url" bench e2e --size 100 --rate "$rate" --events $((rate * $1)) --json
}

start_broker
memory_empty=$(memory_kb)
ahead=$((20 + alone_s + events / 25000)) # until the first is due: filling, two starts and the producer alone
begin_us=$((($(date +%s) + ahead) * 1000000))
filled=$("$build/bench/crier_schedules" fill "$url" "$events" "$begin_us" "$seconds" "$step")
memory_filled=$(memory_kb)
kill -KILL "$broker"
wait "$broker" 2>/dev/null || true
exec 3<&-
start_broker
killed_ms=$(serving_ms)
stop_broker
start_broker
stopped_ms=$(serving_ms)
alone=$(produce $alone_s)
[ "$(date +%s)000000" -lt "$begin_us" ] || {
    echo "filling took so long that some are due already: nothing was measured" >&2
    exit 1
}
"$build/bench/crier_schedules" hear "$url" "$events" >"$folder/heard" &
hears=$!
while [ "$(date +%s)000000" -lt $((begin_us - 1000000)) ]; do read -r -t 0.2 <> <(:) || true; done
memory_most=0
produce "$seconds" >"$folder/beside" &
producer=$!
while kill -0 "$hears" 2>/dev/null; do
    now=$(memory_kb)
    [ "$now" -le "$memory_most" ] || memory_most=$now
    read -r -t 1 <> <(:) || true
done
wait "$hears" || exit 1
hears=
wait "$producer" || true
beside=$(cat "$folder/beside")
heard=$(cat "$folder/heard")

if [ $json = 1 ]; then
    printf '{"fill": %s, "heard": %s, "serving_after_kill_ms": %s, "serving_after_stop_ms": %s, "memory_kb": {"empty": %s, "filled": %s, "most": %s}, "alone": %s, "beside": %s}\n' \
        "$filled" "$heard" "$killed_ms" "$stopped_ms" "$memory_empty" "$memory_filled" "$memory_most" "$alone" "$beside"
else
    printf '%d events with a time, stored at %d/s\n' "$events" "$(field scheduled_per_s <<<"$filled")"
    printf 'serving again after %s ms (killed), %s ms (stopped), with all of them pending\n' "$killed_ms" "$stopped_ms"
    printf 'due over %d s beside %d/s: late by p50 %d us, p99 %d us, p99.9 %d us, max %d us; %d early\n' "$seconds" "$rate" \
        "$(field p50 <<<"$heard")" "$(field p99 <<<"$heard")" "$(field p999 <<<"$heard")" "$(field max <<<"$heard")" \
        "$(field early <<<"$heard")"
    printf 'events emitted at once: p50 %d us, p99 %d us alone; p50 %d us, p99 %d us meanwhile\n' \
        "$(field p50 <<<"$alone")" "$(field p99 <<<"$alone")" "$(field p50 <<<"$beside")" "$(field p99 <<<"$beside")"
    printf 'memory of the broker: %d MB empty, %d MB with them stored, %d MB at most while they came\n' \
        $((memory_empty / 1024)) $((memory_filled / 1024)) $((memory_most / 1024))
fi
