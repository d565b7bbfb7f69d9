# broker.sh: read by the scripts beside it: a broker for a measurement. They set $build and $folder, and end $broker in a trap.
# shellcheck shell=bash disable=SC2154 # build and folder are the reader's
under=() # what crierd runs under, if anything

start_broker() { # sets broker and url; its data is $folder/data, its log $folder/log
    local line
    mkfifo "$folder/says"
    "${under[@]}" "$build/bin/crierd" --data "$folder/data" --listen 127.0.0.1:0 >"$folder/says" 2>"$folder/log" &
    broker=$!
    exec 3<"$folder/says"
    rm "$folder/says"
    url=
    while read -r -t 60 -u 3 line; do
        case $line in *"listening on "*) url=crier://${line##*listening on } && break ;; esac
    done
    [ -n "$url" ] || {
        echo "crierd did not start:" >&2
        cat "$folder/log" >&2
        exit 1
    }
}

stop_broker() {
    kill "$broker"
    wait "$broker" || true
    exec 3<&-
    broker=
}
