# shellcheck shell=bash
# Sourced by the scripts of this folder: a throw-away PostgreSQL from a package, in a temporary folder. Sets $work; sql runs statements by psql. No other
# account of the machine gets into the server: the socket's folder, $socket, is its account's alone, there is no port, and each role has a password,
# $PGPASSWORD, which stands on no command line.
set -euo pipefail

work=$(mktemp -d /tmp/findings.XXXXXX)
socket=$work/server
server=
PGPASSWORD=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
export PGPASSWORD
stop() {
  [ -z "$server" ] || as "$bin/pg_ctl" -D "$socket/data" -m immediate stop >/dev/null 2>&1 || true
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
  mkdir -m 700 "$socket"
  (umask 077 && printf '%s\n' "$PGPASSWORD" >"$socket/password")
  [ "$(id -u)" != 0 ] || chown -R nobody "$socket"
  as "$bin/initdb" -D "$socket/data" -U postgres -A scram-sha-256 --pwfile="$socket/password" --no-sync >/dev/null
  server=started
  as "$bin/pg_ctl" -D "$socket/data" -w -l "$socket/log" \
    -o "-c listen_addresses='' -c unix_socket_directories='$socket' -c unix_socket_permissions=0700 -c fsync=off" start >/dev/null
  echo "package: $1; server: $(sql "SHOW server_version")"
}

sql() { as "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$socket" -U "${2:-postgres}" -d postgres -c "$1"; }

# login makes a role that has the same password as the superuser.
login() { # ROLE
  sql "DO \$\$ BEGIN EXECUTE format('CREATE ROLE $1 LOGIN PASSWORD %L', (SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres')); END \$\$"
}

# expect prints what was seen, and fails where it is not what the finding says.
expect() { # WHAT GOT WANT
  printf '%s: %s\n' "$1" "$2"
  [ "$2" = "$3" ] || { echo "changed: it was $3"; exit 1; }
}
