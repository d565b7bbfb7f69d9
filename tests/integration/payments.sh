#!/usr/bin/env bash
# payments.sh CRIERD CRIER PAYMENTS: the example of a flaky payment service, with a worker and the broker killed in between: every
# payment is made, and in the ledger once, or it is among the dead letters, with why. No time is assumed.
set -euo pipefail
crierd=$1 crier=$2 payments=$3 count=300
folder=$(mktemp -d "${TMPDIR:-/tmp}/crier-payments.XXXXXX")
broker='' workers=() dead='' port=0
finish() {
    for child in ${workers[@]+"${workers[@]}"} $dead $broker; do kill -KILL "$child" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
}
trap finish EXIT

broker_start() {
    mkfifo "$folder/says"
    "$crierd" --data "$folder/data" --listen "127.0.0.1:$port" >"$folder/says" 2>>"$folder/log" &
    broker=$!
    exec 3<"$folder/says"
    rm "$folder/says"
    local line
    while read -r -t 60 -u 3 line; do
        case $line in *"listening on "*) break ;; esac
    done
    port=${line##*:}
    url=crier://127.0.0.1:$port
}

worker_start() {
    "$payments" work "$url" "$folder/ledger" <"$folder/open" &
    workers+=($!)
}

made_await() { # COUNT: until so many lines are in the ledger, a minute at most
    for ((tries = 0; $(wc -l <"$folder/ledger") < $1; tries++)); do
        ((tries < 1200)) || { echo "only $(wc -l <"$folder/ledger") of $1 payments were made" >&2; exit 1; }
        read -r -t 0.05 -u 8 || true # nothing comes there
    done
}

kill_hard() {
    kill -KILL "$1"
    wait "$1" 2>/dev/null || true
}

touch "$folder/ledger"
mkfifo "$folder/open" "$folder/out"
exec 8<>"$folder/open" # standard inputs stay open
broker_start
"$crier" topic create payments --url "$url" --partitions 2 --retry-delay 50ms --retry-delay-max 400ms --deliveries 6 >"$folder/made"
for ((worker = 0; worker < 3; worker++)); do worker_start; done # more than partitions
for ((id = 1; id <= count; id++)); do
    if ((id % 60 == 7)); then echo "$id 13"; else echo "$id 4711"; fi
done >"$folder/payments"
sed -n "1,$((count / 2))p" "$folder/payments" | "$crier" emit payments - --url "$url" >"$folder/said"
made_await 20
kill_hard "${workers[0]}"
unset "workers[0]"
sed -n "$((count / 2 + 1)),\$p" "$folder/payments" | "$crier" emit payments - --url "$url" >>"$folder/said"
made_await 150
kill_hard "$broker"
broker_start
worker_start
refused=$(grep -c ' 13$' "$folder/payments")
made_await $((count - refused))
"$payments" dead "$url" <"$folder/open" >"$folder/out" &
dead=$!
exec 7<"$folder/out"
for ((i = 0; i < refused; i++)); do
    read -r -t 60 -u 7 line || { echo "only $i of $refused dead letters came" >&2; exit 1; }
    echo "$line"
done | sed 's/: the lease ran out$/: the card is refused/' | sort >"$folder/dead" # the last attempt may be one that was killed
grep ' 13$' "$folder/payments" | sed "s/.*/gave up '&' after 6 attempts: the card is refused/" | sort >"$folder/dead.expected"
diff "$folder/dead.expected" "$folder/dead"
grep -v ' 13$' "$folder/payments" | cut -d' ' -f1 | sort >"$folder/ledger.expected"
sort "$folder/ledger" | diff "$folder/ledger.expected" - # each once
echo "$(wc -l <"$folder/ledger") made, $refused given up"
