#!/usr/bin/env bash
# same.sh CRIER_SIM CRIER_SIM [SEEDS]: do two builds of the simulator, by two compilers, run the same? Compares the hashes of the
# traces of the seeds 1..SEEDS (40).
set -euo pipefail
for ((seed = 1; seed <= ${3:-40}; seed++)); do
    one=$("$1" --seed "$seed" --hash) other=$("$2" --seed "$seed" --hash)
    [ "$one" = "$other" ] && continue
    echo "seed $seed: $one in $1, $other in $2"
    exit 1
done
echo "${3:-40} seeds run the same in both"
