#!/usr/bin/env bash
# Runs every fuzz test for FUZZTIME each (default: 20s).
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."
{ grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . || true; } | sed 's|/[^/]*$||' | sort -u |
  while read -r folder; do
    grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$folder"/*_test.go | cut -d' ' -f2 | while read -r name; do
      scripts/timed.sh "fuzz: $folder $name" go test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-20s}" "$folder" </dev/null
    done
  done
