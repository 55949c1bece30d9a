#!/usr/bin/env bash
# Runs the tests of the packages that need a server on the PostgreSQL versions that come next: 19 of Debian's experimental suite, and 18 and pgvector
# of its unstable suite. They want a newer C library than most machines have, so the packages are unpacked, not installed, below
# $WAL2VEC_CACHE/next, with that library and its loader, which a small script runs each program by. pgvector is compiled for 19 from unstable's
# source, or from stable's where the mirror does not have that. Not a part of `make check`: these suites change every day.
#
# It needs apt, dpkg, cc, and Debian's archive keys. The mirror is the one that apt is configured with, or NEXT_MIRROR. With NEXT_OFFLINE=1 it takes
# what an earlier run has unpacked; NEXT_PG19 names the folder of another PostgreSQL 19 with pgvector (bin, lib, share) to take in its place.
#
# usage: scripts/next.sh [GO-TEST-FLAG...]    NEXT_MAJORS (default: 19 18), NEXT_PACKAGES (default: all that start a server)
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"
parts=$cache/parts next=$cache/next
triplet=$(uname -m)-linux-gnu
keys=/usr/share/keyrings/debian-archive-keyring.gpg

# mirror prints where Debian's packages come from.
mirror() {
  if [ -n "${NEXT_MIRROR:-}" ]; then
    echo "$NEXT_MIRROR"
    return
  fi
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1
}

# configure_apt makes an apt of our own below $work, which reads and changes nothing of the machine's, and sets $apt, its options.
configure_apt() {
  local from where=$work/apt
  from=$(mirror)
  [ -n "$from" ] || die 2 "apt is configured with no mirror of Debian; try: apt-get update, or name one in NEXT_MIRROR"
  [ -r "$keys" ] || die 2 "Debian's keys are not in $keys; try: apt-get install debian-archive-keyring"
  mkdir -p "$where/lists/partial" "$where/archives/partial"
  chmod a+rx "$work" "$where"
  : >"$where/status"
  printf 'deb%s [signed-by=%s] %s %s main\n' '' "$keys" "$from" unstable '' "$keys" "$from" experimental -src "$keys" "$from" unstable \
    -src "$keys" "$from" stable >"$where/sources.list"
  printf 'Package: postgresql-19 postgresql-client-19 postgresql-server-dev-19 libpq5\nPin: release a=experimental\nPin-Priority: 990\n' >"$where/preferences"
  apt=(-q -o "Dir::Etc::sourcelist=$where/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::Etc::preferences=$where/preferences"
    -o Dir::Etc::preferencesparts=/dev/null -o "Dir::State::lists=$where/lists" -o "Dir::State::status=$where/status" -o "Dir::Cache=$where"
    -o "Dir::Cache::archives=$where/archives" -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o APT::Install-Recommends=false)
  quietly "reading what Debian's unstable and experimental suites have" apt-get "${apt[@]}" update
}

# candidate PACKAGE: the version that would be taken.
candidate() { apt-cache "${apt[@]}" policy "$1" | sed -n 's/^ *Candidate: //p'; }

# fetch_source sets $source, an unpacked pgvector.
fetch_source() {
  local suite
  source=$work/pgvector
  for suite in unstable stable; do
    mkdir -p "$work/source" "$source"
    if (cd "$work/source" && apt-get "${apt[@]}" source --tar-only -t "$suite" "pgvector/$suite") >"$work/log" 2>&1 9>&-; then
      tar -xf "$work"/source/pgvector_*.orig.tar.* -C "$source" --strip-components 1
      [ "$suite" = unstable ] || say "the mirror has no source of unstable's pgvector; taking $(basename "$work"/source/pgvector_*.orig.tar.*)"
      return 0
    fi
    rm -rf "$work/source"
  done
  tail -n 5 "$work/log" >&2
  die 1 "the source of pgvector cannot be fetched; what apt said is above"
}

# unpack_debs TREE MAJOR: the server, its libraries and the loader, without what no test needs.
unpack_debs() {
  local tree=$1 major=$2 deb
  for deb in "$work"/apt/archives/*.deb; do
    case ${deb##*/} in
      lib*.deb | postgresql-"$major"_* | postgresql-client-"$major"_* | postgresql-"$major"-pgvector_*) dpkg-deb --fsys-tarfile "$deb" |
        tar -x -C "$tree" --no-same-owner --wildcards --wildcards-match-slash --exclude='*/bitcode/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/locale/*' \
          --exclude='*/gconv/*' --exclude='./usr/share/man/*' --exclude='./etc/*' --exclude='./var/*' --exclude='./usr/lib/systemd/*' --exclude='./usr/share/perl*' ;;
    esac
  done
}

# wrap TREE MAJOR: each program runs by the loader that was unpacked beside it, and still takes itself for what it was called as, by which PostgreSQL
# finds its folders.
wrap() {
  local tree=$1 major=$2 bin program loader
  bin=$tree/usr/lib/postgresql/$major/bin
  loader=$(cd "$tree/usr/lib/$triplet" && echo ld-linux*.so.*)
  mkdir "$tree/programs"
  for program in "$bin"/*; do
    mv "$program" "$tree/programs/"
    cat >"$program" <<SCRIPT
#!/bin/sh
root=\$(cd "\${0%/*}" && pwd -P)/../../../../..
exec "\$root/usr/lib/$triplet/$loader" --argv0 "\$0" --library-path "\$root/usr/lib/$triplet" "\$root/programs/\${0##*/}" "\$@"
SCRIPT
    chmod 755 "$program"
  done
  ln -s "usr/lib/postgresql/$major/bin" "$tree/bin"
  ln -s "usr/lib/postgresql/$major/lib" "$tree/lib"
  ln -s "usr/share/postgresql/$major" "$tree/share"
}

# compile_pgvector TREE: for PostgreSQL 19, whose headers come with a package that is not unpacked into the tree.
compile_pgvector() {
  local tree=$1 version
  fetch_source
  mkdir "$work/headers"
  dpkg-deb -x "$work"/apt/archives/postgresql-server-dev-19_*.deb "$work/headers"
  version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$source/vector.control")
  say "compiling pgvector $version for PostgreSQL 19"
  local -a compile=("${CC:-cc}" -O2 -fPIC -shared -w -ftree-vectorize -fassociative-math -fno-signed-zeros -fno-trapping-math
    -I "$work/headers/usr/include/postgresql/19/server" -o "$tree/lib/vector.so" "$source"/src/*.c -lm)
  if ! "${compile[@]}" >/dev/null 2>&1 9>&-; then # one that does not know 19 yet
    sed -i 's/buildstate->tupdesc->attrs\[0\]\.atttypid/TupleDescAttr(buildstate->tupdesc, 0)->atttypid/' "$source/src/ivfbuild.c"
    quietly "compiling pgvector" "${compile[@]}" -include "$root/scripts/pgvector19.h"
  fi
  cp "$source/vector.control" "$source"/sql/*--*--*.sql "$tree/share/extension/"
  cp "$source/sql/vector.sql" "$tree/share/extension/vector--$version.sql"
}

# check TREE MAJOR: its programs run here.
check() {
  local program have
  for program in postgres initdb psql pgbench pg_basebackup; do
    have=$("$1/bin/$program" --version 2>&1) || die 1 "$program of PostgreSQL $2 does not run here: $have"
  done
  [ -s "$1/lib/vector.so" ] || die 1 "there is no pgvector for PostgreSQL $2 in $1"
}

set_up() {
  local want tree major
  configure_apt
  want="19 $(candidate postgresql-19), 18 $(candidate postgresql-18), pgvector $(candidate postgresql-18-pgvector), layout 1"
  case $want in *'19 (none)'* | '19 ,'*) die 1 "Debian's experimental suite has no postgresql-19 now" ;; esac
  if [ "$(cat "$next/.stamp" 2>/dev/null)" = "$want" ]; then
    return 0
  fi
  say "fetching $want"
  quietly "downloading PostgreSQL and its libraries" apt-get "${apt[@]}" install -y --download-only postgresql-19 postgresql-18 postgresql-18-pgvector
  (cd "$work/apt/archives" && quietly "downloading PostgreSQL's headers" apt-get "${apt[@]}" download postgresql-server-dev-19)
  for major in 19 18; do
    tree=$work/next/parts/pg$major
    mkdir -p "$tree"
    unpack_debs "$tree" "$major"
    wrap "$tree" "$major"
    [ "$major" != 19 ] || compile_pgvector "$tree"
    check "$tree" "$major"
  done
  echo "$want" >"$work/next/.stamp"
  chmod -R u+w,go-w,a+rX "$work/next"
  [ ! -e "$next" ] || mv "$next" "$work/old"
  mv "$work/next" "$next"
}

# link_others: the parts that are not PostgreSQL are those of `make parts`.
link_others() {
  local part
  for part in "$parts"/*; do
    case ${part##*/} in pg18 | pg19) ;; *) ln -sfn "$part" "$next/parts/${part##*/}" ;; esac
  done
}

"$root/scripts/prerequisites.sh" go cc
make_cache
lock_cache
if [ "${NEXT_OFFLINE:-0}" != 1 ]; then
  set_up
fi
ours "$next/parts" || die 2 "nothing was unpacked in $next yet; run it without NEXT_OFFLINE once"
if [ -n "${NEXT_PG19:-}" ]; then
  check "$NEXT_PG19" 19
  rm -rf "$next/parts/pg19" "$next/.stamp"
  ln -s "$NEXT_PG19" "$next/parts/pg19"
fi
link_others
for major in 19 18; do
  ours "$next/parts/pg$major" || die 2 "there is no PostgreSQL $major in $next/parts; run it without NEXT_OFFLINE once"
done
say "PostgreSQL: $(for major in 19 18; do "$next/parts/pg$major/bin/postgres" --version; done | tr '\n' ';') pgvector" \
  "$(grep -h default_version "$next"/parts/pg1[89]/share/extension/vector.control | tr -d '\n')"
exec 9>&-

cd "$root"
exec env WAL2VEC_PARTS="$next/parts" WAL2VEC_TEST_MAJORS="${NEXT_MAJORS:-19 18}" WAL2VEC_TEST_SERVED="${NEXT_PACKAGES:-all}" scripts/test.sh "$@"
