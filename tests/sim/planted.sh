#!/usr/bin/env bash
# planted.sh: does the simulator find what it is there for? Known mistakes (planted/*.patch) are built into a copy of the
# tree, one after the other; each has to be found within the number of seeds its patch states.
#
#   planted.sh [NAME...]     all, or those; the last line is `N found, N missed`; exit 0: all were found
#   planted.sh --check       only whether every patch still applies to this tree
#
# A patch begins with what is wrong, then `Seeds: N` and `Breaks: I1 I2 ...`: the promises it may break (CHECK: a check of
# the program itself may stop it first); and, if need be, `Off: FAULT,...`: what only keeps it from showing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
patches=tests/sim/planted
tree=build/planted/tree

apply() { patch --silent --strip=1 --fuzz=2 --no-backup-if-mismatch --directory="$1" "${@:3}" <"$2"; }

if [ "${1:-}" = --check ]; then
    bad=0 count=0
    for patch in "$patches"/*.patch; do
        count=$((count + 1))
        apply . "$patch" --dry-run && continue
        echo "$patch does not apply any more: make the same mistake in the new code, and keep its diff here"
        bad=$((bad + 1))
    done
    echo "$count planted mistakes, $bad do not apply"
    [ "$bad" -eq 0 ] && [ "$count" -ge 10 ]
    exit
fi

# Only what differs is copied, so that whatever was built from something else is built anew.
git ls-files --cached --others --exclude-standard | while read -r file; do
    if [ -f "$file" ] && ! cmp -s "$file" "$tree/$file"; then
        mkdir -p "$(dirname "$tree/$file")"
        cp "$file" "$tree/$file"
    fi
done
(cd "$tree" && cmake --preset release -DBUILD_TESTING=ON >/dev/null)

field() { sed -n "s/^$2: //p" "$1" | head -n 1; }

found=0 missed=0
for patch in "$patches"/*.patch; do
    name=$(basename "$patch" .patch)
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    seeds=$(field "$patch" Seeds) breaks=$(field "$patch" Breaks) off=$(field "$patch" Off)
    apply "$tree" "$PWD/$patch"
    verdict=missed
    if (cd "$tree" && cmake --build build/release --target crier_sim -j "$(nproc)" >build.log 2>&1); then
        { "$tree/build/release/bin/crier_sim" --seeds "$seeds" ${off:+--off "$off"} --quiet --no-shrink || true; } >"$tree/run.txt" 2>&1
        if line=$(grep -E "seed [0-9]+ breaks (${breaks// /|}):" "$tree/run.txt" | head -n 1) && [ -n "$line" ]; then
            verdict=found
        elif [[ " $breaks " == *" CHECK "* ]] && line=$(grep -iE "check failed|check:|CHECK" "$tree/run.txt" | head -n 1) &&
            [ -n "$line" ]; then
            verdict=found
        else
            line=$(tail -n 3 "$tree/run.txt" | tr '\n' ' ')
        fi
    else
        line="it does not compile: $(grep -m 1 error: "$tree/build.log")"
    fi
    apply "$tree" "$PWD/$patch" --reverse
    printf '%-32s %-6s within %5s seeds: %s\n' "$name" "$verdict" "$seeds" "$line"
    if [ $verdict = found ]; then found=$((found + 1)); else missed=$((missed + 1)); fi
done
echo "$found found, $missed missed"
[ "$missed" -eq 0 ] && [ "$found" -gt 0 ]
