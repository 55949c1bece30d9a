# shellcheck shell=bash
# Shared by the scripts of this folder; source it, do not run it.
# Sets: root (the checkout), cache (where parts and tools live), platform (os-arch in Go's words).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${WAL2VEC_CACHE:-$root/.cache}
case $cache in /*) ;; *) cache=$PWD/$cache ;; esac

# die CODE MESSAGE...: one line on standard error, then exit.
die() {
  local code=$1
  shift
  printf 'error: %s\n' "$*" >&2
  exit "$code"
}

say() { printf 'wal2vec: %s\n' "$*" >&2; }

# version_at_least HAVE WANT: compares dotted numbers, up to three of them.
version_at_least() {
  local -a have want
  IFS=. read -ra have <<<"$1"
  IFS=. read -ra want <<<"$2"
  local i h w
  for i in 0 1 2; do
    h=${have[i]:-0} w=${want[i]:-0}
    h=${h%%[!0-9]*} w=${w%%[!0-9]*}
    ((10#${h:-0} > 10#${w:-0})) && return 0
    ((10#${h:-0} < 10#${w:-0})) && return 1
  done
  return 0
}

# detect_platform sets $platform, and $os and $arch, its halves.
detect_platform() {
  os=$(uname -s) arch=$(uname -m)
  case $os in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
  esac
  case $arch in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
  esac
  # shellcheck disable=SC2034 # read by the scripts that source this
  platform=$os-$arch
}

# make_cache creates the cache folder, or says who cannot write it.
make_cache() {
  umask 022 # PostgreSQL runs as another user and must be able to read what we unpack
  mkdir -p "$cache" 2>/dev/null || true
  [ -w "$cache" ] || die 2 "the cache folder $cache cannot be written by $(id -un 2>/dev/null || id -u); try: export WAL2VEC_CACHE=\$HOME/.cache/wal2vec"
}

# lock_cache waits until no other set-up uses this cache, and removes what a killed one left.
# Python takes the lock on our descriptor because macOS has no flock command; the lock belongs
# to the open file, so it lasts until this shell and its children are gone.
lock_cache() {
  exec 9>>"$cache/.lock" || die 2 "the lock file $cache/.lock cannot be opened; try: export WAL2VEC_CACHE=\$HOME/.cache/wal2vec"
  python3 -c '
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("wal2vec: waiting for another set-up in the same cache", file=sys.stderr, flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
' || die 1 "locking $cache/.lock"
  # Only the holder of the lock makes temporary folders, so all that are here are stale.
  rm -rf "$cache"/tmp.*
  work=$cache/tmp.$$
  mkdir -p "$work"
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# quietly LABEL COMMAND...: runs it with its output in a file that is shown only on failure.
quietly() {
  local label=$1 log=$work/log
  shift
  if ! "$@" >"$log" 2>&1 9>&-; then
    tail -n 40 "$log" >&2
    die 1 "$label did not succeed; its last output is above"
  fi
}
