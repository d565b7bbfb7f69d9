#!/usr/bin/env bash
# handles.sh: every public call that takes a handle begins with its check (client/handles.h), so that a debug build finds one that is
# used after its end, whichever call it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

awk '
    # The head of a public function, on one line or more, up to its brace.
    /^[a-z].*[ *]crier_[a-z_]+\(/ && !/;/ && !/^(static|typedef|extern)/ { head = ""; inside = 1 }
    inside { head = head " " $0 }
    inside && /^\{/ { inside = 0; wanted = head; checked = ""; body = 1; next }
    inside && /;/ { inside = 0 }
    body && /^    handle_check\(/ { checked = checked $0; next }
    body {
        body = 0
        match(wanted, /crier_[a-z_]+\(/)
        call = substr(wanted, RSTART, RLENGTH - 1)
        rest = substr(wanted, RSTART + RLENGTH)
        while (match(rest, /crier(_(listener|topic|stream|iterator|pool|shutdown|future))? \*[a-z_]+[,)]/)) {
            parameter = substr(rest, RSTART, RLENGTH - 1)
            rest = substr(rest, RSTART + RLENGTH)
            sub(/.*\*/, "", parameter)
            calls++
            if (parameter != "emitter" && index(checked, ", " parameter ");") == 0) {
                print FILENAME ": " call "() does not begin with handle_check() of " parameter
                bad++
            }
        }
    }
    END {
        print calls " handles are taken, " bad + 0 " are not looked at"
        exit bad > 0 || calls < 120
    }' client/*.c
