#!/usr/bin/env bash
# conformance.sh PAGE PREFIX COUNT: PAGE names every Test() of tests/emitter/PREFIX*.c, of which there are COUNT or more, and every test
# is named there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
page=$1 prefix=$2 least=$3

# SUITE/NAME of each Test(SUITE, NAME ...) and of each row
tests() { sed -nE 's/^Test\(([a-z_]+), ([a-z_0-9]+).*/\1\/\2/p' "tests/emitter/$prefix"*.c | sort; }
# shellcheck disable=SC2016 # the backquotes are the page's
rows() { sed -nE 's/^\|.*\| `([a-z_]+\/[a-z_0-9]+)` \|$/\1/p' "$page" | sort; }

count=$(tests | wc -l)
[ "$count" -ge "$least" ] || { echo "only $count tests were found" && exit 1; }
[ "$(rows | uniq -d | wc -l)" -eq 0 ] || { echo "listed twice:" && rows | uniq -d && exit 1; }
diff <(tests) <(rows) || { echo "'<' is a test that is not listed, '>' is listed and not there" && exit 1; }
echo "$count behaviours"
