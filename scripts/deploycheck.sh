#!/usr/bin/env bash
# Checks what deploy/ holds: the Prometheus rules and their tests, and the systemd units.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

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
for unit in "$root"/deploy/systemd/*.{service,timer}; do
  sed -e "s|^ExecStart=/usr/local/bin/wal2vec|ExecStart=$(command -v true)|" \
    -e "s|^EnvironmentFile=.*|EnvironmentFile=$root/deploy/systemd/wal2vec.env|" \
    "$unit" >"$units/${unit##*/}"
done
# It exits 0 on some faults that it prints, such as an unknown key: no output is the pass.
output=$(systemd-analyze verify --man=no "$units"/*.{service,timer} 2>&1) || output+=$'\n(verify failed)'
if [ -n "$output" ]; then
  echo "$output" >&2
  die 1 "systemd-analyze verify found faults in deploy/systemd"
fi
echo "systemd units: no fault found"
