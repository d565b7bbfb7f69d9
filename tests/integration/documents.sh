#!/usr/bin/env bash
# documents.sh DOCUMENT BUILD: runs the commands of a page as its reader would, in one shell in an empty folder, and
# compares what they print with what the page says they print.
#
# A block ```sh is run; a block ```text right after it is its standard output, to the letter. Without one, its output is
# not compared, but it has to succeed. The library is installed into the folder first. The port is a free one: the page's
# commands name none, so the environment can.
set -euo pipefail
document=$1 build=$2
folder=$(mktemp -d)
trap 'clean_up' EXIT

clean_up() {
    local job
    for job in $(jobs -p); do
        kill -KILL "$job" 2>/dev/null || true
    done
    rm -rf "$folder"
}

# The page as a script: each block's output goes to out.N, what is expected stands in want.N.
extract() {
    echo "set -euo pipefail"
    # shellcheck disable=SC2016 # for the shell that runs it
    echo 'trap "kill \$(jobs -p) 2>/dev/null || true" EXIT'
    awk -v folder="$folder" '
        /^```sh$/ { kind = "sh"; n++; print "echo " n " >\"" folder "/block\"; {"; next }
        /^```text$/ && after == "sh" { kind = "text"; wanted = folder "/want." n; printf "" >wanted; next }
        /^```/ && kind == "sh" { print "} >\"" folder "/out." n "\""; kind = ""; after = "sh"; next }
        /^```/ && kind == "text" { close(wanted); kind = after = ""; next }
        kind == "sh" { print; next }
        kind == "text" { print >wanted; next }
        { after = "" }' "$document"
}

free_port() { # of a broker that was given one and has ended
    local line
    mkfifo "$folder/listening"
    "$build/bin/crierd" --data "$folder/none" --listen 127.0.0.1:0 >"$folder/listening" 2>/dev/null &
    read -r line <"$folder/listening"
    kill %1
    wait %1
    echo "${line##*:}"
}

extract >"$folder/script"
grep -q '^echo 1 ' "$folder/script" || {
    echo "$document has no commands"
    exit 1
}
for component in libcrier libcrier-dev; do
    cmake --install "$build" --prefix "$folder/prefix" --component $component >/dev/null
done
library=$(dirname "$(find "$folder/prefix" -name libcrier.so)")
sed -i "s|^prefix=.*|prefix=$folder/prefix|" "$library/pkgconfig/crier.pc" # the build was configured for another
port=$(free_port)
mkdir "$folder/empty"
cd "$folder/empty"

status=0
env PATH="$build/bin:$PATH" CRIERD_LISTEN="127.0.0.1:$port" CRIER_URL="crier://127.0.0.1:$port" \
    LD_LIBRARY_PATH="$library" PKG_CONFIG_PATH="$library/pkgconfig" bash "$folder/script" \
    2>"$folder/errors" || status=$?
if [ $status -ne 0 ]; then
    echo "block $(cat "$folder/block") of $document ended with $status"
    cat "$folder/errors"
    cat crierd.log 2>/dev/null || true
    exit 1
fi
for want in "$folder"/want.*; do
    diff "$want" "$folder/out.${want##*.}" || {
        echo "block ${want##*.} of $document prints something else (<: the page, >: the program)"
        exit 1
    }
done
