#!/usr/bin/env bash
# doxygen.sh: every function, struct, field and constant of the public headers is documented, as far as Doxygen can tell.
source "$(dirname "${BASH_SOURCE[0]}")/sources.sh"

folder=$(mktemp -d "${TMPDIR:-/tmp}/crier-doxygen.XXXXXX")
trap 'rm -rf "$folder"' EXIT
{
    cat tests/lint/Doxyfile
    printf '%s\n' "OUTPUT_DIRECTORY = $folder" 'GENERATE_HTML = NO' 'GENERATE_XML = YES'
} | doxygen - >"$folder/said" 2>&1 || {
    cat "$folder/said"
    exit 1
}
if [ -s "$folder/said" ]; then
    cat "$folder/said"
    echo "doxygen: $(grep -c warning "$folder/said") warnings"
    exit 1
fi
