#!/usr/bin/env bash
# public_calls.sh LIBRARY: every call that libcrier exports is explained in libcrier(3), is given arguments that are none by a test,
# and lives through a run in which every allocation fails once. What has no such test is listed here, with the reason.
#
# If this names a call of yours: add it to man/libcrier.3; to tests/integration/test_api.c or test_api_more.c; and to
# tests/integration/test_api_memory.c or test_api_loop_memory.c.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

bad_input=(tests/integration/test_api*.c tests/emitter/test_emitter_bad.c tests/emitter/test_stream_[ce]*.c)
memory=(tests/*/test_*_memory.c tests/emitter/test_emitter_bad.c)
exempt_from_bad_input="crier_strerror crier_schedule_to_text" # take any number
exempt_from_memory="crier_fd crier_timeout_ms crier_process" # how the polled buses of those tests are driven from inside
exempt_from_memory+=" crier_schedule_to_text crier_schedule_from_text" # take none

failed=0
complain() { echo "$1"; failed=1; }
calls=$(nm -D --defined-only "$1" | sed -nE 's/.* T (crier_[a-z_]+).*/\1/p' | sort -u)
[ "$(wc -w <<<"$calls")" -ge 80 ] || { echo "only $(wc -w <<<"$calls") calls were found in $1"; exit 1; }
for call in $calls; do
    grep -qw "$call" man/libcrier.3 || complain "$call is not in man/libcrier.3"
    grep -qw "$call" <<<"$exempt_from_bad_input" || grep -qw -- "$call" "${bad_input[@]}" ||
        complain "$call: no test gives it arguments that are none (test_api_more.c)"
    grep -qw "$call" <<<"$exempt_from_memory" || grep -qw -- "$call" "${memory[@]}" ||
        complain "$call: no test lets it run out of memory (test_api_loop_memory.c)"
done
[ $failed -eq 0 ] && echo "$(wc -w <<<"$calls") calls"
