# sources.sh: read by the other checks: what our files are. Every check runs from the root of the tree.
# shellcheck shell=bash disable=SC2119,SC2120 # c_files may be called without arguments
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# shellcheck disable=SC2034 # used by those who read this
FOLDERS=(base proto storage broker client embed tools examples bench tests)

c_files() { # [FOLDER...]: our .c and .h files, without generated ones
    local folder
    for folder in "${@:-${FOLDERS[@]}}"; do
        [ -d "$folder" ] && find "$folder" -name '*.[ch]' -type f
    done | LC_ALL=C sort
}

text_files() { # every file people write
    {
        c_files
        find "${FOLDERS[@]}" docs cmake .ci -type f \
            \( -name '*.sh' -o -name '*.cmake' -o -name 'CMakeLists.txt' -o -name '*.md' -o -name '*.proto' -o -name run \) \
            2>/dev/null
        find . -maxdepth 1 -type f \( -name '*.md' -o -name 'CMake*' -o -name dev \)
    } | LC_ALL=C sort -u
}
