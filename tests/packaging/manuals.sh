#!/usr/bin/env bash
# manuals.sh FOLDER [BIN]: the manual pages are well formed, for mandoc and for groff, whichever is there; with BIN, what the programs
# take, each command and each long option of its --help, stands in their page.
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
words() { # PAGE -> its text, without bold type, on one line
    mandoc -T ascii "$1" | sed 's/.\x08//g' | tr -s ' \n' '  '
}

named() { # WHAT TEXT PATTERN...
    local what=$1 text=$2 pattern
    shift 2
    for pattern; do
        grep -qE -- "(^|[ ,([])$pattern([] ,.;:)=]|\$)" <<<"$text" || {
            echo "$what: there is no '$pattern' in its manual page"
            bad=1
        }
    done
}

flags() { # COMMAND... -> the long options of its help
    "$@" --help | grep -oE '^ +(-., )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+'
}

if [ $# -gt 1 ] && command -v mandoc >/dev/null; then
    page=$(words "$1/crierd.8")
    mapfile -t options < <(flags "$2/crierd")
    named crierd "$page" "${options[@]}"
    page=$(words "$1/crier.1")
    while read -r -a command; do
        mapfile -t options < <(flags "$2/crier" "${command[@]}")
        named "crier ${command[*]}" "$page" "${command[*]}" "${options[@]}"
    done < <("$2/crier" --help | sed -n '/^Commands:/,/^$/p' | sed -n 's/^  \([a-z]*\( [a-z0-9-]*\)\{0,1\}\)  .*/\1/p')
fi

[ $checked = 1 ] || {
    echo "neither mandoc nor man is installed: nothing was checked"
    exit 77
}
exit $bad
