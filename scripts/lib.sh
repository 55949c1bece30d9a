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

# trusted: root, this account, and the checkout's owner, whose scripts these are, or whom WAL2VEC_TRUST_UIDS names.
trusted=0,$EUID,${WAL2VEC_TRUST_UIDS-$(ls -ldn "$root" | awk '{ print $3 }')}

# ours PATH [make]: whether PATH, a full one, is there. It dies where an account that is not trusted could change what the path names, or put something
# else in its place: what is in the cache gets linked and run. It goes the kernel's way, as internal/safefile does: a folder as /tmp
# is may be on the way, and not be PATH itself. With make, each missing folder is made by itself, so that no link leads it elsewhere.
ours() {
  local rest=${1#/}/ at='' name links=0 closed='' # the first folder on the way that lets in its owner alone
  judge /
  while [ -n "$rest" ]; do
    name=${rest%%/*} rest=${rest#*/}
    case $name in
      '' | .) continue ;;
      ..)
        at=${at%/*}
        case $at/ in "$closed"/*) ;; *) closed='' ;; esac
        continue
        ;;
    esac
    if [ ! -e "$at/$name" ] && [ ! -L "$at/$name" ]; then
      [ "${2:-}" = make ] || return 1
      mkdir -m 755 "$at/$name" 2>/dev/null || [ -e "$at/$name" ] || return 1 # another set-up may have been faster
    fi
    judge "$at/$name"
    if [ -L "$at/$name" ]; then
      ((++links <= 40)) || die 2 "too many links lead to $1"
      rest=$(readlink "$at/$name")/$rest
      case $rest in /*) at='' closed='' ;; esac
    else
      at=$at/$name
    fi
  done
  judge "${at:-/}" end
}

# judge PATH [end]: the owner and mode of one file, folder or link on the way, or of the end of it. Below the folder $closed modes do not count.
judge() {
  local mode uid gid why='' inside=$closed
  read -r mode _ uid gid _ <<<"$(ls -ldn "$1" 2>/dev/null)"
  case ",${trusted// /}," in
    *",${uid:-unknown},"*) ;;
    *) why="belongs to another account (uid ${uid:-unknown})" ;;
  esac
  case $inside$mode in d?????[-S]??[-T]*) closed=$1 ;; esac
  if [ -z "$why$inside" ]; then
    case $mode in
      l*) ;; # its mode says nothing
      d????????[tT]*) [ "${2:-}" != end ] || case $mode in ?????w* | ????????w*) why="may be written by other accounts" ;; esac ;;
      ????????w*) why="may be written by every account" ;;
      ?????w????+*) why="may be written by accounts of its access control list" ;;
      ?????w*) private_to_trusted "$gid" || why="may be written by its group (gid $gid)" ;;
    esac
  fi
  [ -z "$why" ] || die 2 "$1 $why, and what is in the cache $cache is linked and run; try: export WAL2VEC_CACHE=FOLDER with one that this account owns and no other may write"
}

# private_to_trusted GID: the group is private to one of the accounts that are trusted.
private_to_trusted() {
  local uid
  for uid in ${trusted//,/ }; do
    ! private "$uid" "$1" || return 0
  done
  return 1
}

# private UID GID: the group has that account alone in it, as many systems make one for each account.
private() {
  local name
  name=$(getent passwd "$1" 2>/dev/null | cut -d: -f1) || true
  case $(getent group "$2" 2>/dev/null) in
    '') [ -z "$name" ] && [ "$1" = "$2" ] && command -v getent >/dev/null || return 1 ;; # of a volume: the system knows neither
    "$name:"*":$2:" | "$name:"*":$2:$name") [ "$1" = "$2" ] || grep -q "^$name:" /etc/group || return 1 ;;
    *) return 1 ;;
  esac
  getent passwd | awk -F: -v uid="$1" -v gid="$2" '$4 == gid && $3 != uid { exit 1 }'
}

# make_cache creates the cache folder, or says who cannot write it.
make_cache() {
  umask 022 # PostgreSQL runs as another user and must be able to read what we unpack
  ours "$cache" make || true
  [ -d "$cache" ] && [ -w "$cache" ] || die 2 "the cache folder $cache cannot be written by $(id -un 2>/dev/null || id -u); try: export WAL2VEC_CACHE=\$HOME/.cache/wal2vec"
}

# lock_cache waits until no other set-up uses this cache, and removes what a killed one left.
# Python takes the lock on our descriptor because macOS has no flock command; the lock belongs
# to the open file, so it lasts until this shell and its children are gone.
lock_cache() {
  ours "$cache/.lock" || true
  [ ! -L "$cache/.lock" ] && { [ -f "$cache/.lock" ] || [ ! -e "$cache/.lock" ]; } || die 2 "$cache/.lock is no file; try: rm -r $cache/.lock"
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
  mkdir -m 755 "$work" || die 1 "making $work"
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
