#!/usr/bin/env bash
# Runs both systemd units as they are in deploy/, under a systemd of its own, against a throw-away
# PostgreSQL, and looks at what they may do. The systemd has its own processes, mounts and root file
# system (an overlay that is thrown away), so it starts and stops nothing else of this machine.
#
# It takes root, Linux with cgroup v2, systemd 250 or later, util-linux, and what `make parts build` makes.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

[ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ] || die 2 "units.sh needs root on Linux: it mounts and makes namespaces"
for tool in unshare nsenter setpriv systemctl; do
  command -v "$tool" >/dev/null || die 2 "$tool is missing; try: apt-get install -y util-linux systemd"
done
parts=$cache/parts postgres=$cache/parts/pg18/bin
[ -x "$root/bin/wal2vec" ] && ours "$parts/pg18" && [ -x "$postgres/postgres" ] || die 2 "the program or its parts are not there; try: make parts build"

work=$(mktemp -d) manager='' booted=''
chmod 0755 "$work"
db=(setpriv --reuid=65534 --regid=65534 --clear-groups)
finish() {
  [ -z "$manager" ] || kill -KILL "$manager" 2>/dev/null || true # its namespace ends with it
  [ -z "$booted" ] || wait "$booted" || true
  "${db[@]}" "$postgres/pg_ctl" -D "$work/pg/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

# until_true WHAT COMMAND...: asks every 100 ms, for a minute.
until_true() {
  local what=$1 i
  shift
  for ((i = 0; i < 600; i++)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  show_logs
  die 1 "$what did not happen within a minute"
}
show_logs() { cat "$work"/log/*.log >&2 2>/dev/null || true; }
expect() { [ "$2" = "$3" ] || { show_logs && die 1 "$1 is $2, not $3"; }; }

# PostgreSQL, as a user without rights. The units are tried at a loopback address and at one that is not: it listens on one of each, and lets no other
# machine in. No account of this one can read its password.
password=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
install -d -m 0700 -o 65534 -g 65534 "$work/pg"
install -m 0600 -o 65534 -g 65534 /dev/stdin "$work/pg/password" <<<"$password"
"${db[@]}" "$postgres/initdb" -D "$work/pg/data" -U postgres -A scram-sha-256 --pwfile="$work/pg/password" >/dev/null
echo 'host all all samehost scram-sha-256' >>"$work/pg/data/pg_hba.conf"
other=$(hostname -I | cut -d ' ' -f 1)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
"${db[@]}" "$postgres/pg_ctl" -D "$work/pg/data" -l "$work/pg/log" -w start \
  -o "-p $port -c wal_level=logical -c unix_socket_directories= -c listen_addresses=127.0.0.1,$other -c fsync=off" >/dev/null
query() { PGPASSWORD=$password "$postgres/psql" -h 127.0.0.1 -p "$port" -U postgres -v ON_ERROR_STOP=1 -qAtc "$1"; }
query "CREATE EXTENSION vector; CREATE SCHEMA staging_marts; CREATE TABLE staging_marts.dim_product
  (product_id bigint PRIMARY KEY, name text, brand text, category text, description text, deleted boolean)"
query "INSERT INTO staging_marts.dim_product SELECT n, 'product ' || n, 'brand', 'category', 'described' FROM generate_series(1, 200) AS n"
# The units do not see which account the server has (PrivateUsers): each that they do not know shows as nobody, which this server's is besides.
dsn() { echo "postgres://postgres:$password@$1:$port/postgres?requirepeer=nobody"; }

# What the head of wal2vec.service says to install.
files=$work/files
install -D "$root/bin/wal2vec" "$files/usr/local/bin/wal2vec"
install -d "$files/usr/local/share/wal2vec" "$files/etc/systemd/system" "$work/log"
cp -RL "$parts"/{onnxruntime,model} "$parts"/operators-* "$files/usr/local/share/wal2vec/"
install -D -m 0600 "$root/deploy/systemd/wal2vec.env" "$files/etc/wal2vec/wal2vec.env"
sed -i "s/^WAL2VEC_HTTP_LISTEN=.*/WAL2VEC_HTTP_LISTEN=127.0.0.1:0/" "$files/etc/wal2vec/wal2vec.env"
install -m 0600 /dev/stdin "$files/etc/wal2vec/source-dsn" <<<"$(dsn 127.0.0.1)"
cp -p "$files/etc/wal2vec/source-dsn" "$files/etc/wal2vec/read-dsn"
install -m 0600 /dev/stdin "$files/etc/wal2vec/other-dsn" <<<"$(dsn "$other")&connect_timeout=5"
cp "$root"/deploy/systemd/*.service "$files/etc/systemd/system/"
# The same sandbox around a command that asks the database at an address that is no loopback one.
sed -e 's|^ExecStart=.*|ExecStart=/usr/local/bin/wal2vec status|' -e 's|/etc/wal2vec/source-dsn|/etc/wal2vec/other-dsn|' \
  "$root/deploy/systemd/wal2vec-backfill.service" >"$files/etc/systemd/system/denied.service"
sed "/^IPAddressAllow/a IPAddressAllow=$other" "$files/etc/systemd/system/denied.service" >"$files/etc/systemd/system/allowed.service"
for unit in wal2vec wal2vec-backfill denied allowed; do
  install -D -m 0644 /dev/stdin "$files/etc/systemd/system/$unit.service.d/log.conf" <<UNIT
[Unit]
DefaultDependencies=no
[Service]
StandardOutput=append:/tmp/log/$unit.log
StandardError=append:/tmp/log/$unit.log
UNIT
done
ln -s /dev/null "$files/etc/systemd/system/network-online.target"
printf '[Unit]\nDescription=nothing but what is asked for\n' >"$files/etc/systemd/system/idle.target"

# The systemd: process 1 of a namespace whose root is an overlay over this machine's.
cat >"$work/boot" <<'BOOT'
set -euo pipefail
work=$1
mount --make-rprivate /
mkdir "$work/overlay" && mount -t tmpfs tmpfs "$work/overlay"
mkdir "$work/overlay/"{upper,work,root}
new=$work/overlay/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/overlay/upper,workdir=$work/overlay/work" "$new"
mount -t proc proc "$new/proc" && mount -o bind,ro "$new/proc/sys" "$new/proc/sys"
mount -t sysfs -o ro sysfs "$new/sys" && mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
mount -t tmpfs tmpfs "$new/dev" && mkdir "$new/dev/"{shm,pts} && touch "$new/dev/console"
for device in null zero full random urandom tty; do touch "$new/dev/$device" && mount --bind "/dev/$device" "$new/dev/$device"; done
mount -t devpts devpts "$new/dev/pts" && ln -s pts/ptmx "$new/dev/ptmx"
mount -t tmpfs tmpfs "$new/run" && mount -t tmpfs tmpfs "$new/tmp" && mkdir "$new/tmp/log" && mount --bind "$work/log" "$new/tmp/log"
cp -r "$work/files/." "$new/"
cd "$new" && mkdir .old && pivot_root . .old && umount -l /.old
mount --make-rshared / # credentials are mounted by a child, for all to see
container=wal2vec exec /lib/systemd/systemd --system --unit=idle.target --log-target=null
BOOT
unshare --pid --fork --mount --cgroup --uts --ipc --kill-child bash "$work/boot" "$work" 2>"$work/log/boot.log" &
booted=$!
child() { manager=$(pgrep -P "$booted" -x systemd); }
until_true "the start of systemd" child
manager=$(pgrep -P "$booted" -x systemd)
inside() { nsenter -t "$manager" -m -p -C -u -i "$@"; }
until_true "systemd's first target" inside systemctl is-active idle.target

env -i PATH="$PATH" HOME="$work" WAL2VEC_CACHE="$cache" WAL2VEC_SOURCE_DSN_FILE="$files/etc/wal2vec/source-dsn" "$root/bin/wal2vec" init >/dev/null 2>"$work/log/init.log"
inside systemctl start wal2vec.service
until_true "the stream's start" grep -q '"streaming"' "$work/log/wal2vec.log"
inside systemctl start wal2vec-backfill.service || { show_logs && die 1 "the backfill ended with $(inside systemctl show -P ExecMainStatus wal2vec-backfill)"; }
expect "the count of vectors after the backfill" "$(query 'SELECT count(*) FROM analytics_features.product_embeddings')" 200
query "INSERT INTO staging_marts.dim_product VALUES (1000, 'new', 'brand', 'category', 'described', false)"
arrived() { [ "$(query 'SELECT count(*) FROM analytics_features.product_embeddings WHERE product_id = 1000')" = 1 ]; }
until_true "the new row's vector" arrived

# What the process has.
pid=$(inside systemctl show -P MainPID wal2vec)
expect "its core limit" "$(inside awk '/core file/ { print $5, $6 }' "/proc/$pid/limits")" "0 0"
expect "its capabilities" "$(inside awk '/^CapEff|^CapBnd/ { printf "%s ", $2 }' "/proc/$pid/status")" "0000000000000000 0000000000000000 "
expect "its filter and NoNewPrivs" "$(inside awk '/^Seccomp:|^NoNewPrivs/ { printf "%s ", $2 }' "/proc/$pid/status")" "1 2 "
expect "the number of passwords in its environment and command line" "$(inside cat "/proc/$pid/environ" "/proc/$pid/cmdline" | tr '\0' '\n' | grep -cFf "$work/pg/password" || true)" 0
expect "the number of passwords in its log" "$(cat "$work"/log/wal2vec*.log | grep -cFf "$work/pg/password" || true)" 0

# Addresses beyond this machine's own.
inside systemctl start denied.service 2>/dev/null || true
expect "the exit code of status at $other, which is not allowed" "$(inside systemctl show -P ExecMainStatus denied)" 5
inside systemctl start allowed.service || true
expect "the exit code of status at $other, which is allowed" "$(inside systemctl show -P ExecMainStatus allowed)" 0

inside systemctl stop wal2vec.service
expect "the stream's end" "$(inside systemctl show -P Result wal2vec)" success
echo "systemd units: $(inside systemctl --version | head -n 1) ran stream and backfill, and kept them in"
