#!/usr/bin/env bash
# Runs every Go benchmark, once each unless flags say otherwise, so that none can rot.
#
# usage: scripts/bench.sh [GO-TEST-FLAG...]     for example -benchtime 1s -count 6
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."
[ $# -gt 0 ] || set -- -benchtime 1x
folders=$({ grep -rlE '^func Benchmark[A-Z]' --include='*_test.go' . || true; } | sed 's|/[^/]*$||' | sort -u)
[ -n "$folders" ] || exit 0
# -p 1: benchmarks of two packages at once would measure each other.
# shellcheck disable=SC2086 # a list of words
go test -p 1 -run '^$' -bench . -benchmem "$@" $folders
