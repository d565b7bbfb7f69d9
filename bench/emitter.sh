#!/usr/bin/env bash
# emitter.sh [--rounds N] [--build FOLDER]: an emit on local: beside Node's own emitter, in turns, as ratios of medians.
#
# Both count CPU time, so that a busy machine disturbs them less, and both check that every handler was called.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

rounds=5 build=../build/release
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2 && shift 2 ;;
    --build) build=$2 && shift 2 ;;
    *)
        echo "usage: emitter.sh [--rounds N] [--build FOLDER]" >&2
        exit 2
        ;;
    esac
done
command -v node >/dev/null || {
    echo "emitter.sh: node is missing (Debian: nodejs)" >&2
    exit 1
}

lines=
for ((round = 0; round < rounds; round++)); do
    lines+="$("$build/bench/bench_emitter" 0.3)"$'\n'"$(node emitter.js 0.3)"$'\n'
done
# LABEL_TOPICS_LISTENERS VALUE, sorted by both: the middle one of each label is its median
printf %s "$lines" | tr -d '{}" ' | tr ',' '\n' | tr ':' ' ' | sort -k1,1 -k2,2n |
    awk -v rounds="$rounds" '
        { value[$1, ++count[$1]] = $2 }
        function median(label) { return value[label, int((count[label] + 1) / 2)] }
        END {
            for (topics = 1; topics <= 4; topics += 3)
                for (listeners = 1; listeners <= 10; listeners += 9) {
                    at = "_" topics "_" listeners
                    node = median("node" at)
                    printf "%d topic%s, %2d listener%s: Node %5.1f M/s; crier by name %5.1f (%.2f x), interned %6.1f (%.2f x)\n",
                        topics, (topics > 1 ? "s" : " "), listeners, (listeners > 1 ? "s" : " "), node,
                        median("name" at), median("name" at) / node, median("interned" at), median("interned" at) / node
                }
            printf "medians of %d rounds, M emits per second of CPU time\n", rounds
        }'
