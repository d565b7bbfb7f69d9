#!/usr/bin/env bash
# unit.sh UNIT CRIERD: systemd understands the unit without a warning, and finds it hardened.
set -euo pipefail
unit=$1 crierd=$2
command -v systemd-analyze >/dev/null || {
    echo "systemd-analyze is not installed: the unit was not checked"
    exit 77
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The binary it names may not be installed here; the one that was built stands in for it.
sed "s|^ExecStart=[^ ]*|ExecStart=$crierd|" "$unit" >"$folder/crierd.service"
grep -q "^ExecStart=$crierd --config /.*/crierd.conf$" "$folder/crierd.service"

complaints=$(systemd-analyze verify --man=no "$folder/crierd.service" 2>&1) || {
    printf '%s\n' "$complaints"
    exit 1
}
[ -z "$complaints" ] || {
    printf '%s\n' "$complaints"
    exit 1
}
# Tenths, of 100; a unit without any hardening has 96.
systemd-analyze security --offline=yes --threshold=20 --no-pager "$folder/crierd.service"
