#!/usr/bin/env bash
# coldreplay.sh [--gigabytes N] [--seconds N] [--rounds N] [--rate MB_PER_S] [--build FOLDER] [--dir FOLDER]: what does a replay
# of cold data cost those who emit meanwhile? See cold.c.
#
# Fills a topic, then measures, then prints the CPU time of the reactor's turns as crierd counted it. The folder is removed at
# the end.
set -euo pipefail

gigabytes=2 seconds=5 rounds=5 rate=200 build=build/release folder=build/bench broker=
while [ $# -gt 0 ]; do
    case $1 in
    --gigabytes) gigabytes=$2 && shift 2 ;;
    --seconds) seconds=$2 && shift 2 ;;
    --rounds) rounds=$2 && shift 2 ;;
    --rate) rate=$2 && shift 2 ;;
    --build) build=$2 && shift 2 ;;
    --dir) folder=$2 && shift 2 ;;
    *)
        echo "usage: coldreplay.sh [--gigabytes N] [--seconds N] [--rounds N] [--rate N] [--build FOLDER] [--dir FOLDER]" >&2
        exit 2
        ;;
    esac
done
mkdir -p "$folder"
folder=$(mktemp -d "$folder/cold.XXXXXX")

finish() {
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

# shellcheck source=bench/broker.sh
source "$(dirname "${BASH_SOURCE[0]}")/broker.sh"

start_broker
"$build/bench/crier_fill" "$url" 1 $((gigabytes * 1000000000)) 65536
stop_broker
start_broker
"$build/bench/crier_cold" "$url" "$folder/data" fill.0 "$rate" "$seconds" "$rounds"
stop_broker
sed -n 's/.* INFO TURNS /reactor: /p' "$folder/log"
