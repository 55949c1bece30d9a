#!/usr/bin/env bash
# Fails when a Go file of the checkout is too long to be about one thing: more than 500 lines, or
# 800 for a test. Generated files are left alone.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."
status=0
while IFS= read -r file; do
  limit=500
  case $file in *_test.go) limit=800 ;; esac
  lines=$(wc -l <"$file")
  [ "$lines" -gt "$limit" ] || continue
  ! head -n 30 "$file" | grep -q '^// Code generated .* DO NOT EDIT\.$' || continue
  printf '%s:%d: the file has %d lines, at most %d are allowed\n' "${file#./}" "$limit" "$lines" "$limit" >&2
  status=1
done < <(find . -name .cache -prune -o -name '*.go' -print | sort)
exit $status
