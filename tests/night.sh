#!/usr/bin/env bash
# night.sh: the long forms of what every change runs for minutes, one after the other, and one table at the end.
#
#   ./dev night [HOURS]      shared out over the parts (default 8); the table is in build/night/table.txt, too
#
# Exit 0: nothing was found. What was found is in build/night/NAME.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

hours=${1:-8}
minutes=$((hours * 60))
out=build/night
rows=()
bad=0
mkdir -p "$out"

part() { # NAME WHAT-TO-SHOW COMMAND...: one row
    local name=$1 show=$2 began=$SECONDS verdict=clean what
    shift 2
    printf 'night: %s\n' "$name" >&2
    if ! "$@" >"$out/$name.txt" 2>&1; then
        verdict=FOUND
        bad=$((bad + 1))
    fi
    what=$(grep -aE "$show" "$out/$name.txt" | tail -n 1 | cut -c 1-110) || what="(nothing to show)"
    rows+=("$(printf '%-12s %-6s %5d min  %s' "$name" "$verdict" $(((SECONDS - began) / 60)) "$what")")
}

simulator() { # MINUTES: new seeds, in pieces, until the time is over; the totals of all of them
    local end=$((SECONDS + 60 * $1)) first=$((10#$(date +%y%m%d) * 1000000)) seeds=0 piece=10000 line
    local -A faults=()
    while [ $SECONDS -lt $end ]; do
        ./dev sim --seeds $piece --first $first --quiet >"$out/piece.txt" || { cat "$out/piece.txt" && return 1; }
        cat "$out/piece.txt"
        while read -r line; do
            faults[${line%% *}]=$((${faults[${line%% *}]:-0} + ${line##* }))
        done < <(grep -oE '(BROKER_CRASH|LINK_RESET|DISK_FULL|DISK_BREAKS|STORED_UNKNOWN) +[0-9]+' "$out/piece.txt")
        first=$((first + piece)) seeds=$((seeds + piece))
    done
    for line in "${!faults[@]}"; do
        printf '%s %s, ' "$line" "${faults[$line]}"
    done
    echo "$seeds seeds in all, 0 violations"
}

part tests '^[0-9]+ passed, [0-9]+ failed' ./dev test
part coverage '^(branches|lines):' ./dev coverage
part simulator 'seeds in all|breaks I' simulator $((minutes / 4))
part planted '^[0-9]+ found' ./dev sim --planted
part failures '^[0-9]+ runs' build/release/bin/crier_sim_failures
part fuzz '^[0-9]+ passed, [0-9]+ failed' ./dev fuzz --minutes $((minutes / 24 > 0 ? minutes / 24 : 1))
part kills '.' ./dev torture --rounds $((minutes * 4))
part power '.' ./dev torture --power $((minutes * 100))
part memory '.' tests/memcheck.sh

{
    printf '%-12s %-6s %9s  %s\n' part verdict took "what was run and met"
    printf '%s\n' "${rows[@]}"
} | tee "$out/table.txt"
[ "$bad" -eq 0 ]
