#!/usr/bin/env bash
# conformance.sh: docs/emitter-conformance.md names every test of the emitter's contract, and every test is named there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# SUITE/NAME of each Test(SUITE, NAME ...) and of each row
tests() { sed -nE 's/^Test\(([a-z_]+), ([a-z_0-9]+).*/\1\/\2/p' tests/emitter/test_emitter_*.c | sort; }
# shellcheck disable=SC2016 # the backquotes are the page's
rows() { sed -nE 's/^\|.*\| `([a-z_]+\/[a-z_0-9]+)` \|$/\1/p' docs/emitter-conformance.md | sort; }

count=$(tests | wc -l)
[ "$count" -ge 80 ] || { echo "only $count tests were found" && exit 1; }
[ "$(rows | uniq -d | wc -l)" -eq 0 ] || { echo "listed twice:" && rows | uniq -d && exit 1; }
diff <(tests) <(rows) || { echo "'<' is a test that is not listed, '>' is listed and not there" && exit 1; }
echo "$count behaviours"
