#!/usr/bin/env bash
# cppcheck.sh BUILD-FOLDER [JOBS]: cppcheck over our sources. The build folder is where generated headers are.
source "$(dirname "${BASH_SOURCE[0]}")/sources.sh"

build=$1
mapfile -t files < <(c_files base proto storage broker client tools examples bench | grep '\.c$')
mkdir -p "$build/cppcheck"
cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr -j "${2:-2}" --cppcheck-build-dir="$build/cppcheck" \
    --enable=warning,performance,portability --suppress=missingIncludeSystem --suppressions-list=tests/lint/cppcheck.txt \
    -D_GNU_SOURCE -D__GNUC__ -I. -Iclient/include -I"$build" "${files[@]}"
