# shellcheck shell=bash
# Sourced by the scripts of this folder: a throw-away PostgreSQL from a package, in a temporary folder. Sets $work; sql runs statements by psql.
set -euo pipefail

work=$(mktemp -d /tmp/findings.XXXXXX)
server=
stop() {
  [ -z "$server" ] || as "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap stop EXIT

# as runs a program as a user that PostgreSQL accepts.
as() {
  if [ "$(id -u)" = 0 ]; then
    (cd "$work" && setpriv --reuid=nobody --regid=nogroup --clear-groups "$@")
  else
    "$@"
  fi
}

start_server() { # PACKAGE==VERSION
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$1"
  bin=$(find "$work/venv" -path '*pginstall18/bin' -type d | head -n 1)
  run_server "$1"
}

run_server() { # PACKAGE, of which $bin has the programs
  chmod -R a+rX "$work"
  mkdir "$work/data" && chmod 700 "$work/data"
  [ "$(id -u)" != 0 ] || chown nobody "$work/data"
  chmod a+x "$work"
  as "$bin/initdb" -D "$work/data" -U postgres -A trust --no-sync >/dev/null
  server=started
  [ "$(id -u)" != 0 ] || chown nobody "$work"
  as "$bin/pg_ctl" -D "$work/data" -w -l "$work/log" -o "-c listen_addresses='' -c unix_socket_directories='$work' -c fsync=off" start >/dev/null
  echo "package: $1; server: $(sql "SHOW server_version")"
}

sql() { as "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work" -U "${2:-postgres}" -d postgres -c "$1"; }

# expect prints what was seen, and fails where it is not what the finding says.
expect() { # WHAT GOT WANT
  printf '%s: %s\n' "$1" "$2"
  [ "$2" = "$3" ] || { echo "changed: it was $3"; exit 1; }
}
