#!/usr/bin/env bash
# Looks for known vulnerabilities in what the program calls, with govulncheck. It fails on each that
# it finds; where the database of vulnerabilities cannot be reached, it says so and passes.
#
# usage: scripts/vulncheck.sh [DATABASE], a URL; file:///FOLDER for a copy of your own
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

database=${1:-https://vuln.go.dev}
reachable='
import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1] + "/index/db.json", timeout=10).read()
except OSError as e:
    sys.exit(str(getattr(e, "reason", e)))
'
"$root/scripts/prerequisites.sh" go python
if ! why=$(python3 -c "$reachable" "$database" 2>&1); then
  say "known vulnerabilities were not looked for: $database cannot be reached (${why##*$'\n'})"
  exit 0
fi
govulncheck=$("$root/scripts/tools.sh" govulncheck)
cd "$root"
"$govulncheck" -db "$database" ./... ||
  die 1 "govulncheck did not pass; try: go get MODULE@VERSION with the version in which it is fixed, or a newer Go"
