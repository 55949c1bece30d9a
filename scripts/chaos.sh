#!/usr/bin/env bash
# Runs the chaos suite (internal/test/chaos) once for each seed and prints one report a line, as JSON, on standard output. What a failed run
# said, its plan and the ends of its processes included, goes to standard error.
#
# usage: scripts/chaos.sh SEEDS MINUTES MAJOR    SEEDS: 7, "3 4" or 1-20
set -uo pipefail
cd "${BASH_SOURCE[0]%/*}/.." || exit 1

seeds=() minutes=${2:-2} major=${3:-18}
for word in ${1:-1}; do
  if [[ $word =~ ^([0-9]+)-([0-9]+)$ ]]; then
    for ((seed = BASH_REMATCH[1]; seed <= BASH_REMATCH[2]; seed++)); do seeds+=("$seed"); done
  else
    seeds+=("$word")
  fi
done

folder=$(mktemp -d) || exit
trap 'rm -rf "$folder"' EXIT
go test -c -o "$folder/chaos.test" ./internal/test/chaos || exit
cd internal/test/chaos || exit
status=0
for seed in "${seeds[@]}"; do
  rm -f "$folder/report"
  if ! CHAOS_SEED=$seed CHAOS_MINUTES=$minutes CHAOS_REPORT=$folder/report WAL2VEC_TEST_PG=$major \
    "$folder/chaos.test" -test.run '^TestChaos$' -test.v -test.timeout 0 >"$folder/log" 2>&1; then
    echo "chaos: seed $seed on PostgreSQL $major failed:" >&2
    cat "$folder/log" >&2
    status=1
  fi
  cat "$folder/report" 2>/dev/null
done
exit $status
