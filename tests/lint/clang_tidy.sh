#!/usr/bin/env bash
# clang_tidy.sh BUILD-FOLDER [JOBS]: the checks of .clang-tidy over our sources (tests apart: macros of the framework).
source "$(dirname "${BASH_SOURCE[0]}")/sources.sh"

build=$1
# Only what the build knows can be checked.
mapfile -t files < <(c_files base proto storage broker client embed tools examples bench | grep '\.c$' |
    while read -r file; do grep -qF "\"file\": \"$PWD/$file\"" "$build/compile_commands.json" && echo "$file"; done)
# One file at a time: with several, 14's va_list check takes one file's state into the next.
printf '%s\0' "${files[@]}" | xargs -0 -P "${2:-2}" -n 1 clang-tidy-14 --quiet -p "$build" --warnings-as-errors='*' 2> >(
    grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed |^Use -header-filter' >&2 || true)
