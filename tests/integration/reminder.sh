#!/usr/bin/env bash
# reminder.sh CRIERD REMINDER: the example of scheduled reminders, with its shop and the broker killed in between: whatever is not
# paid in time is reminded of, once, and nothing else is. No time is assumed: a shop says which reminders had gone out already.
set -euo pipefail
crierd=$1 reminder=$2 carts=20
folder=$(mktemp -d "${TMPDIR:-/tmp}/crier-reminder.XXXXXX")
broker='' shop='' mailer='' port=0
finish() {
    for child in $shop $mailer $broker; do kill -KILL "$child" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
}
trap finish EXIT

await() { # FD PATTERN: reads lines until one matches; prints them
    local line
    while read -r -t 60 -u "$1" line; do
        echo "$line"
        # shellcheck disable=SC2254 # a pattern
        case $line in $2) return ;; esac
    done
    echo "no line like '$2'" >&2
    exit 1
}

broker_start() {
    mkfifo "$folder/says"
    "$crierd" --data "$folder/data" --listen "127.0.0.1:$port" >"$folder/says" 2>"$folder/log" &
    broker=$!
    exec 3<"$folder/says"
    rm "$folder/says"
    local line
    line=$(await 3 "*listening on *")
    port=${line##*:}
    url=crier://127.0.0.1:$port
}

shop_start() {
    mkfifo "$folder/in" "$folder/out"
    "$reminder" shop "$url" 1500 <"$folder/in" >"$folder/out" &
    shop=$!
    exec 4>"$folder/in" 5<"$folder/out"
    rm "$folder/in" "$folder/out"
}

broker_start
shop_start
for ((cart = 1; cart <= carts; cart++)); do echo "open $cart" >&4; done
await 5 "cart $carts is open" >/dev/null
kill -KILL "$shop"
wait "$shop" 2>/dev/null || true
shop_start # it knows what it had scheduled
for ((cart = 2; cart <= carts; cart += 2)); do echo "pay $cart" >&4; done
await 5 "cart $carts is paid*" >"$folder/paid"
kill -KILL "$broker"
wait "$broker" 2>/dev/null || true
broker_start
{
    for ((cart = 1; cart <= carts; cart += 2)); do echo "reminding of cart $cart"; done
    sed -n 's/^cart \([0-9]*\) is paid; its reminder has gone out/reminding of cart \1/p' "$folder/paid"
    echo "reminding of cart 999"
} | sort >"$folder/expected"
echo "open 999" >&4 # due after all the others: behind it nothing is to come
mkfifo "$folder/in" "$folder/out"
"$reminder" mailer "$url" <"$folder/in" >"$folder/out" &
mailer=$!
exec 6>"$folder/in" 7<"$folder/out"
await 7 "reminding of cart 999" | sort >"$folder/reminded"
diff "$folder/expected" "$folder/reminded"
echo "$(wc -l <"$folder/paid") paid, $(($(wc -l <"$folder/reminded") - 1)) reminded of"
