#!/usr/bin/env bash
# Runs the Go tests with the race detector and in random order, on each PostgreSQL major named in
# WAL2VEC_TEST_MAJORS (default: 18 16). Packages whose tests cannot start a PostgreSQL run once.
# With WAL2VEC_TEST_SERVED only packages that start a server run: all, or those that it names.
# Arguments are handed to go test.
#
# usage: scripts/test.sh [GO-TEST-FLAG...]
set -uo pipefail
cd "${BASH_SOURCE[0]%/*}/.." || exit 1

all=$(go list ./...) || exit
# A test binary that links the package that runs servers may start one.
served=$(go list -test -f '{{.ImportPath}}: {{join .Deps " "}} .' ./... |
  sed -n 's|^\([^ ]*\)\.test: .* github.com/wal2vec/wal2vec/internal/pgserver .*|\1|p') || exit
plain=$(comm -23 <(sort <<<"$all") <(sort <<<"$served"))
case ${WAL2VEC_TEST_SERVED:-} in
  '') ;;
  all) plain='' ;;
  *) plain='' served=$WAL2VEC_TEST_SERVED ;;
esac

status=0
run() { # HEADING PACKAGES FLAGS...
  local heading=$1 packages=$2
  shift 2
  [ -n "$packages" ] || return 0
  # shellcheck disable=SC2086 # a list of words
  scripts/timed.sh "$heading" go test -race -shuffle=on -timeout 30m "$@" $packages || status=1
}

run "test: packages without a server" "$plain" "$@"
for major in ${WAL2VEC_TEST_MAJORS:-18 16}; do
  # These tests wait for servers and processes more than they compute.
  WAL2VEC_TEST_PG=$major run "test: PostgreSQL $major" "$served" -parallel 6 "$@"
done
exit $status
