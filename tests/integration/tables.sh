#!/usr/bin/env bash
# tables.sh CRIERD TABLES: the example of streams: a compressed table through a broker and back is the same, from files and through pipes,
# of zstd and of lz4; and whatever is wrong with one is told.
set -euo pipefail
crierd=$1 tables=$2 rows=20000
folder=$(mktemp -d "${TMPDIR:-/tmp}/crier-tables.XXXXXX")
broker=''
finish() {
    [ -z "$broker" ] || kill -KILL "$broker" 2>/dev/null || true
    wait
    rm -rf "$folder"
}
trap finish EXIT

mkfifo "$folder/says"
"$crierd" --data "$folder/data" --listen 127.0.0.1:0 >"$folder/says" 2>"$folder/log" &
broker=$!
exec 3<"$folder/says"
line=''
while read -r -t 60 -u 3 line; do
    case $line in *"listening on "*) break ;; esac
done
url=crier://127.0.0.1:${line##*:}

# Quotes, line ends in a field, nothing in another; CRLF, as the RFC and the writer have it.
awk -v rows=$rows 'BEGIN {
    printf "order_id,customer,note\r\n"
    for (i = 1; i <= rows; i++)
        printf "%d,customer %d,%s\r\n", i, i % 97, i % 3 == 0 ? "" : i % 3 == 1 ? "\"says \"\"hi\"\", and\n goes\"" : "plain"
}' >"$folder/orders.csv"
zstd -q "$folder/orders.csv"
lz4 -q "$folder/orders.csv" "$folder/orders.csv.lz4"

fails() { # WORDS COMMAND...: it does, and says so
    local words=$1
    shift
    if "$@" >/dev/null 2>"$folder/why"; then
        echo "did not fail: $*" >&2
        exit 1
    fi
    grep -q "$words" "$folder/why" || { cat "$folder/why" >&2 && exit 1; }
}

# files
"$tables" import "$url" orders order_id <"$folder/orders.csv.zst"
"$tables" export "$url" orders >"$folder/back.zst"
zstd -dcq "$folder/back.zst" | cmp - "$folder/orders.csv"

# pipes, lz4, a broker inside the process
lz4 -cq "$folder/orders.csv" | "$tables" import "embed:$folder/own" orders
"$tables" export "embed:$folder/own" orders | zstd -dcq | cmp - "$folder/orders.csv"

# what is wrong
head -c 3000 "$folder/orders.csv.zst" >"$folder/short"
fails "ends inside a frame" "$tables" import "$url" short order_id <"$folder/short"
fails "no column 'number'" "$tables" import "$url" keyless number <"$folder/orders.csv.lz4"
fails "line 2: 1 fields" "$tables" import "$url" wrong < <(printf 'a,b\n1\n' | zstd -cq)
fails "no frame" "$tables" import "$url" plain <"$folder/orders.csv"
if "$tables" export "$url" orders 2>"$folder/why" >/dev/full || ! grep -q "No space left" "$folder/why"; then
    cat "$folder/why" >&2
    exit 1
fi
echo "$rows rows"
