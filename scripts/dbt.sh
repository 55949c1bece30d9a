#!/usr/bin/env bash
# Runs the dbt project below deploy/dbt with the real dbt-postgres, and wal2vec behind it (TestDBT..., build tag dbt). dbt is set up below
# $WAL2VEC_CACHE once for each state of requirements.txt. Arguments are handed to go test.
#
# usage: scripts/dbt.sh [GO-TEST-FLAG...]
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

requirements=$root/deploy/dbt/requirements.txt
dbt=$cache/dbt-$(sha256sum "$requirements" | cut -c1-12)
if ! ours "$dbt"; then
  "$root/scripts/prerequisites.sh" python
  make_cache
  lock_cache
fi
if ! ours "$dbt"; then # another clone may have been faster
  say "setting up dbt-postgres"
  quietly "installing dbt-postgres with pip" python3 -m pip install --no-input --disable-pip-version-check --no-warn-script-location \
    --target "$work/dbt" -r "$requirements"
  mv "$work/dbt" "$dbt"
fi
exec 9>&-
cd "$root"
DBT_PACKAGES=$dbt exec "$root/scripts/timed.sh" 'dbt' go test -shuffle=on -timeout 20m -tags dbt -run '^TestDBT' "$@" ./cmd/wal2vec
