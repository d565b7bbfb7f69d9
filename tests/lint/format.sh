#!/usr/bin/env bash
# format.sh [--check]: spacing as .clang-format settles it; with --check, only says which files differ.
source "$(dirname "${BASH_SOURCE[0]}")/sources.sh"

mapfile -t files < <(c_files "${FOLDERS[@]}")
if [ "${1:-}" = --check ]; then
    clang-format-14 --dry-run -Werror "${files[@]}"
else
    clang-format-14 -i "${files[@]}"
fi
