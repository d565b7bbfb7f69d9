#!/usr/bin/env bash
# cppcheck.sh BUILD-FOLDER [JOBS]: cppcheck over our sources. The build folder is where generated headers are.
source "$(dirname "${BASH_SOURCE[0]}")/sources.sh"

build=$1
mapfile -t files < <(c_files base proto storage broker client embed tools examples bench | grep '\.c$')
mkdir -p "$build/cppcheck/include"
# Macros that are statements have to be known; the rest of /usr/include is better not read.
ln -sf /usr/include/uthash.h /usr/include/utlist.h "$build/cppcheck/include/"
cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr -j "${2:-2}" --cppcheck-build-dir="$build/cppcheck" \
    --enable=warning,performance,portability --suppress=missingIncludeSystem --suppressions-list=tests/lint/cppcheck.txt \
    -D_GNU_SOURCE -D__GNUC__ -DCRIER_VERSION_TEXT="\"0\"" -I. -Iclient/include -I"$build/cppcheck/include" -I"$build" "${files[@]}"
