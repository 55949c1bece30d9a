#!/usr/bin/env bash
# Runs the whole suite three times beside eight busy loops, as on a machine that does other work: a test that waits for time and not for a
# state fails here. Arguments are handed to go test.
#
# usage: scripts/busy.sh [GO-TEST-FLAG...]
set -uo pipefail
cd "${BASH_SOURCE[0]%/*}/.." || exit 1

loops=()
trap 'kill "${loops[@]}" 2>/dev/null' EXIT
for _ in 1 2 3 4 5 6 7 8; do
  while :; do :; done &
  loops+=("$!")
done
status=0
for round in 1 2 3; do
  echo "test-busy: round $round of 3"
  scripts/test.sh -count=1 -timeout 120m "$@" || status=1
done
exit $status
