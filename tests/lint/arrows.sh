#!/usr/bin/env bash
# arrows.sh: includes point down only, and the core is pure. Prints each include that does not, and fails.
#
#   base: nothing of ours but base          proto: base, proto           storage: base, storage, proto/crc32c.h
#   broker/core: base, proto, itself, and storage/store.h (docs/decisions/0002); no I/O, clock, threads or random source
#   broker: base, proto, storage, broker    client: base, proto, client  (client and broker: never each other)
#   embed: base, proto, broker, client, storage/store.h: the broker as a library stands on top of both
#   tools: the public header, base, tools, and for folders at rest storage/offline.h and the state rows (docs/decisions/0010)
#   examples: the public header, themselves
source "$(dirname "${BASH_SOURCE[0]}")/sources.sh"

# "FILE LINE INCLUDED" for every include of the folder; INCLUDED with its quotes or angle brackets.
includes() {
    c_files "$@" | xargs -r grep -nE '^[[:space:]]*#[[:space:]]*include' |
        sed -E 's/^([^:]+):([0-9]+):[[:space:]]*#[[:space:]]*include[[:space:]]*([<"][^>"]*[>"]).*/\1 \2 \3/'
}

bad=0
complain() { # FILE LINE INCLUDED REASON
    printf '%s:%s: %s %s\n' "$1" "$2" "$3" "$4"
    bad=$((bad + 1))
}

# A quoted include with a folder in it names that folder; one without is in the file's own folder.
allow() { # FOLDER PATTERN-OF-QUOTED-INCLUDES [FOLDERS TO LEAVE OUT]
    local folder=$1 pattern=$2 without=${3:-} file line included
    while read -r file line included; do
        case $file in "$without"/*) continue ;; esac
        case $included in
        '"'*/*) [[ ${included//\"/} =~ ^($pattern)$ ]] || complain "$file" "$line" "$included" "points up or aside" ;;
        '<broker/'* | '<client/'* | '<embed/'* | '<storage/'* | '<proto/'* | '<base/'*)
            complain "$file" "$line" "$included" "is ours: quotes" ;;
        esac
    done < <(includes "$folder")
}

PUBLIC='(client/include/)?crier/[a-z_]+\.h'
allow base 'base/.*'
allow proto '(base|proto)/.*'
allow storage '(base|storage)/.*|proto/crc32c\.h'
allow broker/core '(base|proto|broker/core)/.*|storage/store\.h'
allow broker '(base|proto|storage|broker)/.*' broker/core
allow client "(base|proto|client)/.*|$PUBLIC"
allow embed "(base|proto|broker|client|embed)/.*|storage/store\.h|$PUBLIC"
allow tools "(base|tools)/.*|storage/offline\.h|proto/state\.pb-c\.h|$PUBLIC"
allow examples "$PUBLIC"

# What the core must not know. Memory, strings and assertions are all it takes from the system; of stdio, snprintf.
IMPURE='event2?/.*|event\.h|lmdb\.h|pthread\.h|threads\.h|time\.h|unistd\.h|fcntl\.h|poll\.h|signal\.h|sys/.*'
IMPURE+='|netinet/.*|arpa/.*|netdb\.h|base/(clock|queue|shutdown)\.h'
while read -r file line included; do
    [[ $included =~ ^[\<\"]($IMPURE)[\>\"]$ ]] && complain "$file" "$line" "$included" "has no place in the pure core"
done < <(includes broker/core)
while IFS=: read -r file line text; do
    complain "$file" "$line" "$text" "is not for the pure core"
done < <(c_files broker/core | xargs -r grep -nE '\b(random_system|clock_(monotonic|wall)_us|clock_gettime|pthread_[a-z_]+|v?f?printf|fopen|fputs|puts)\(')

[ $bad -eq 0 ] || {
    echo "arrows: $bad wrong"
    exit 1
}
