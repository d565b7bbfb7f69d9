#!/usr/bin/env bash
# manuals.sh FOLDER: the manual pages are well formed, for mandoc and for groff, whichever is there.
set -euo pipefail
checked=0 bad=0
for page in "$1"/*.[1-8]; do
    if command -v mandoc >/dev/null; then
        mandoc -Tlint -Wwarning "$page" || bad=1
        checked=1
    fi
    if man --warnings -l /dev/null >/dev/null 2>&1; then
        complaints=$(MANWIDTH=100 man --warnings -l "$page" 2>&1 >/dev/null)
        [ -z "$complaints" ] || {
            printf '%s: %s\n' "$page" "$complaints"
            bad=1
        }
        checked=1
    fi
done
[ $checked = 1 ] || {
    echo "neither mandoc nor man is installed: nothing was checked"
    exit 77
}
exit $bad
