#!/usr/bin/env bash
# Runs a command under a heading and says how long it took and how it ended.
#
# usage: scripts/timed.sh HEADING COMMAND...
heading=$1
shift
printf '==> %s\n' "$heading"
SECONDS=0
"$@"
status=$?
if [ $status -eq 0 ]; then
  printf '==> %s: ok, %d s\n' "$heading" "$SECONDS"
else
  printf '==> %s: FAILED with status %d after %d s\n' "$heading" "$status" "$SECONDS"
fi
exit $status
