#!/usr/bin/env bash
# guard.sh [BUILD]: has the hot path grown? Counts, never times, so that it means the same on every machine.
#
#   instructions  of one event in a client's emit, in an emit on local:, in the broker's check of a batch, in a listener's walk: callgrind, twice,
#                 so that what is paid once falls out of the difference; of a start, for each topic there is, the same way
#   system calls  of the broker per million events of 100 B, producer to consumer; of clients with one event in flight: strace
#   bytes         that the broker writes per byte of payload, in a flood of 1 KiB events: /proc/PID/io; that it sends in a turn of its
#                 loop at most: strace
#
# A limit is what was measured when it was set, and a tenth more (instructions) or twice as much (what depends on how the
# load falls into batches). Getting better is a reason to lower it.
set -euo pipefail
build=${1:-build/release}
folder=$(mktemp -d "${TMPDIR:-/tmp}/crier-guard.XXXXXX")
broker='' tracer='' bad=0
# shellcheck disable=SC2317 # the trap calls it
finish() {
    [ -z "$tracer" ] || kill "$tracer" 2>/dev/null || true
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

expect() { # WHAT MEASURED LIMIT
    local verdict=ok
    [ "$2" -le "$3" ] || verdict='MORE THAN THE LIMIT' bad=1
    printf '%-52s %8d   limit %8d   %s\n' "$1" "$2" "$3" "$verdict"
}

collected() { # PART EVENTS -> instructions
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$build/bench/crier_hot" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

instructions() { # PART LIMIT WHAT
    local few many
    few=$(collected "$1" 20000) many=$(collected "$1" 120000)
    expect "instructions per event, $3" $(((many - few) / 100000)) "$2"
}

# shellcheck source=bench/broker.sh
source "$(dirname "${BASH_SOURCE[0]}")/broker.sh"

started() { # TOPICS -> instructions of a start with so many, each with a producer, and of the stop
    start_broker
    "$build/bench/crier_fill" "$url" "$1" 0 100
    read -r -t 3 <> <(:) || true # the state is written every second: what it does not have yet would be replayed
    stop_broker
    under=(valgrind --tool=callgrind --callgrind-out-file=/dev/null)
    start_broker
    stop_broker
    sed -n 's/.*Collected : //p' "$folder/log"
}

starts() { # LIMIT
    local few many
    rm -rf "$folder/data"
    few=$(started 1000) many=$(started 21000)
    expect "instructions of a start and a stop, per topic" $(((many - few) / 20000)) "$1"
}

trace_broker() { # STRACE OPTION...: until the broker stops
    strace -f "$@" -p "$broker" 2>"$folder/strace" &
    tracer=$!
    while ! grep -q attached "$folder/strace"; do
        kill -0 "$tracer" # it says why it cannot
        read -r -t 0.05 <> <(:) || true
    done
}

stop_traced() {
    stop_broker
    wait "$tracer" || true
    tracer=
}

system_calls() { # LIMIT
    rm -rf "$folder/data"
    start_broker
    trace_broker -c -S calls -U calls,name -o "$folder/calls"
    "$build/bin/crier" --url "$url" bench e2e --size 100 --events 1000000 --dir "$folder" --json >/dev/null
    stop_traced
    expect "system calls of the broker per million events" "$(awk '$2 == "total" { print $1 }' "$folder/calls")" "$1"
}

# Eight listeners of one log take more than a turn of the loop may send (SEND_TURN_MAX, and what one connection may exceed it by).
turn_sends() { # LIMIT
    rm -rf "$folder/data"
    start_broker
    trace_broker -s 0 -e trace=epoll_wait,sendto,sendmsg -o "$folder/sends"
    "$build/bin/crier" --url "$url" bench e2e --size 1K --listeners 8 --events 50000 --dir "$folder" --json >/dev/null
    stop_traced
    expect "bytes sent in a turn of the broker's loop, the most" "$(awk '
        /epoll_wait/ { sent[$1] = 0 }
        /send(to|msg)/ && $NF > 0 { sent[$1] += $NF; if (sent[$1] > most) most = sent[$1] }
        END { print most + 0 }' "$folder/sends")" "$1"
}

# Of the load generator, all of whose connections are on one loop: a receive and a send for each event, and little more.
client_calls() { # LIMIT
    rm -rf "$folder/data"
    start_broker
    strace -f -c -S calls -U calls,name -o "$folder/client" "$build/bin/crier" --url "$url" bench emit --size 100 \
        --connections 64 --events 20000 --dir "$folder" --json >/dev/null
    stop_broker
    expect "system calls of 64 clients on a loop, per 1,000 events" \
        $(($(awk '$2 == "total" { print $1 }' "$folder/client") / 20)) "$1"
}

written() { # LIMIT, in hundredths of a byte
    local before after
    rm -rf "$folder/data"
    start_broker
    before=$(awk '/^write_bytes/ { print $2 }' "/proc/$broker/io")
    "$build/bin/crier" --url "$url" bench emit --size 1K --in-flight 8000 --events 300000 --dir "$folder" --json >/dev/null
    after=$(awk '/^write_bytes/ { print $2 }' "/proc/$broker/io")
    stop_broker
    expect "bytes written per 100 bytes of payload, 1 KiB" $(((after - before) * 100 / (300000 * 1024))) "$1"
}

instructions emit 386 "a client's emit"
instructions local 89 "an emit on local:, interned"
instructions validate 235 "the broker's check"
instructions iterate 230 "a listener's walk"
starts 5000
system_calls 6000
turn_sends $(((2048 + 512) * 1024))
client_calls 2800
written 150
exit $bad
