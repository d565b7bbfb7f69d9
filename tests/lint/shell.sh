#!/usr/bin/env bash
# shell.sh: shellcheck over every script.
source "$(dirname "${BASH_SOURCE[0]}")/sources.sh"

mapfile -t scripts < <(find dev .ci tests bench -type f \( -name '*.sh' -o -name dev -o -path .ci/run \) | LC_ALL=C sort)
scripts+=(packaging/completion/* packaging/debian/p*)
shellcheck --external-sources --source-path=SCRIPTDIR "${scripts[@]}"
