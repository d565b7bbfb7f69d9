#!/usr/bin/env bash
# cplusplus.sh SOURCE LIBRARIES: the public headers, each by itself and all in use, with every C++ compiler at hand, by the
# oldest standard they are for and a new one, with warnings as errors; the program then runs on an embed: bus.
set -euo pipefail
source=$1 libraries=$2
folder=$(mktemp -d "${TMPDIR:-/tmp}/crier-cplusplus.XXXXXX")
trap 'rm -rf "$folder"' EXIT
tried=0

for compiler in g++ clang++ clang++-14; do
    command -v "$compiler" >/dev/null || continue
    tried=$((tried + 1))
    for standard in c++11 c++20; do
        flags=("-std=$standard" -Wall -Wextra -pedantic -Werror -I"$source/client/include")
        for header in "$source"/client/include/crier/*.h; do
            echo "#include <crier/$(basename "$header")>" >"$folder/alone.cc"
            "$compiler" "${flags[@]}" -fsyntax-only "$folder/alone.cc"
        done
        "$compiler" "${flags[@]}" -o "$folder/program" "$source/tests/integration/cplusplus/uses_everything.cc" \
            -L"$libraries" -lcrier-embed -Wl,-rpath,"$libraries"
        "$folder/program" "embed:$folder/$compiler-$standard"
    done
done
for header in "$source"/client/include/crier/*.h; do # and in C, by itself
    echo "#include <crier/$(basename "$header")>" >"$folder/alone.c"
    cc -std=gnu99 -Wall -Wextra -pedantic -Werror -I"$source/client/include" -fsyntax-only "$folder/alone.c"
done
echo "$tried compilers"
[ $tried -gt 0 ]
