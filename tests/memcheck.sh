#!/usr/bin/env bash
# memcheck.sh: valgrind over a few runs of the simulator: what the sanitizers' allocators may hide (memory never written).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite \
    build/release/bin/crier_sim --seeds "${1:-20}" --quiet | tail -n 1
