#!/usr/bin/env bash
# analyzer.sh BUILD-FOLDER [JOBS]: gcc's -fanalyzer over everything that is shipped. The build folder is its own.
#
# Left out, because gcc 12 sees them where they are not:
#   malloc-leak          what hangs in a list or a uthash table counts as lost; AddressSanitizer and valgrind look for leaks
#   use-after-free       an atomic count of references means nothing to it; AddressSanitizer again
#   uninitialized-value  what read(), pread() and LMDB fill counts as never written; valgrind runs over the simulator
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=$1
flags="-fanalyzer -O0 -Wno-analyzer-malloc-leak -Wno-analyzer-use-after-free -Wno-analyzer-use-of-uninitialized-value"
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DBUILD_TESTING=OFF -DCMAKE_C_FLAGS="$flags -Werror" >/dev/null
cmake --build "$build" -j "${2:-2}"
