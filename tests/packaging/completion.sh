#!/usr/bin/env bash
# completion.sh FOLDER BIN: the completions offer what the programs take: all of it, and nothing else.
set -euo pipefail
completions=$1
PATH=$2:$PATH
# shellcheck source=/dev/null
source "$completions/crierd"
# shellcheck source=/dev/null
source "$completions/crier"
bad=0
export CRIER_URL=crier://127.0.0.1:1 # nobody is there: topics are not what this is about

offered() { # FUNCTION WORD... -> what is offered for the last word, one a line
    local function=$1
    shift
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    "$function"
    printf '%s\n' "${COMPREPLY[@]}" | sort
}

expect() { # WHAT WANTED GOT
    [ "$2" = "$3" ] || {
        echo "$1:"
        diff <(echo "$2") <(echo "$3") || true
        bad=1
    }
}

flags() { # COMMAND... -> the long flags of its help; -V stands in each, and is not worth offering
    "$@" --help | grep -oE '^ +(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort
}

expect "crierd" "$(flags crierd)" "$(offered _crierd crierd --)"
expect "crierd --log-level" "$(printf 'debug\nerror\ninfo\nwarn')" "$(offered _crierd crierd --log-level "")"
commands=$(crier --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\( [a-z0-9-]*\)\{0,1\}\)  .*/\1/p')
while read -r -a words; do
    expect "crier ${words[*]}" "$(flags crier "${words[@]}" | grep -v -- --version)" \
        "$(offered _crier crier "${words[@]}" --)"
done <<<"$commands"
expect "crier" "$(crier --help | sed -n '/^Commands:/,/^$/p' | awk 'NF > 1 { print $1 }' | sort -u)" \
    "$(offered _crier crier "" | grep -v -- --)"
expect "crier topic" "$(printf 'alter\nconfirm-time\ncreate\ndelete\ndescribe\nlist\npurge\ntrim')" \
    "$(offered _crier crier topic "")"
expect "crier --url" "--patience" "$(offered _crier crier --url crier://x:1 emit --pa)"
exit $bad
