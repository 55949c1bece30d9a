#!/usr/bin/env bash
# Checks what deploy/ holds: the Prometheus rules and their tests, and the systemd units, with the exposure that systemd counts for each.
# (internal/test/arch checks the Dockerfile, the compose file, and what both units must hold.)
#
# usage: scripts/deploycheck.sh [--units FOLDER] [--exposure TENTHS]     (default: deploy/systemd, 12: at most 1.2 of 10)
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

units_from=$root/deploy/systemd exposure=12
while [ $# -gt 0 ]; do
  case $1 in
    --units | --exposure) [ $# -gt 1 ] || die 2 "$1 needs a value" ;;
    *) die 2 "deploycheck.sh knows --units and --exposure, not $1" ;;
  esac
  if [ "$1" = --units ]; then units_from=$2; else exposure=$2; fi
  shift 2
done
# 10# because 08 is octal otherwise.
[[ $exposure =~ ^[0-9]+$ ]] && ((10#$exposure <= 100)) || die 2 "--exposure is a number of tenths, from 0 to 100, not $exposure"

promtool=$("$root/scripts/tools.sh" promtool)
(cd "$root/deploy/prometheus" && "$promtool" check rules rules.yml && "$promtool" test rules rules_test.yml)

if ! command -v systemd-analyze >/dev/null; then
  [ "$(uname -s)" != Linux ] || die 2 "systemd-analyze is missing; try: apt-get install -y systemd (or your system's package systemd)"
  echo "systemd units: not checked, this system has no systemd"
  exit 0
fi

# verify wants the program and the files of a unit to be there: it gets copies that name what is.
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
for unit in "$units_from"/*.{service,timer}; do
  sed -e "s|^ExecStart=/usr/local/bin/wal2vec|ExecStart=$(command -v true)|" \
    -e "s|^EnvironmentFile=.*|EnvironmentFile=$units_from/wal2vec.env|" \
    "$unit" >"$units/${unit##*/}"
done
# It exits 0 on some faults that it prints, such as an unknown key: no output is the pass.
output=$(systemd-analyze verify --man=no "$units"/*.{service,timer} 2>&1) || output+=$'\n(verify failed)'
if [ -n "$output" ]; then
  echo "$output" >&2
  die 1 "systemd-analyze verify found faults in $units_from"
fi
echo "systemd units: no fault found"

version=$(systemd-analyze --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
version_at_least "${version:-0}" 250 ||
  die 2 "systemd-analyze 250 or later is needed to count a unit's exposure, this one is ${version:-of an unknown version}; try: apt-get install -y systemd on Debian 12 or later"
for unit in "$units_from"/*.service; do
  if ! output=$(systemd-analyze security --offline=true --threshold="$exposure" "$unit" 2>&1); then
    grep -v '^✓' <<<"$output" >&2 || true
    die 1 "${unit##*/} is open to more than $exposure tenths: the lines above marked ✗ say where"
  fi
  echo "${unit##*/}:${output##*:}"
done
