# shellcheck shell=bash
# Sourced by scripts of this folder: a throw-away PostgreSQL 19 from Debian's experimental suite, of the version that the script names, on a machine with
# apt. Its packages and their libraries are unpacked in a temporary folder, never installed, and run by the loader among them. Debian keeps a version there
# until the next one comes; the script then says so.
source "${BASH_SOURCE[0]%/*}/server.bash"

start_server19() { # VERSION
  local from where=$work/apt tree=$work/tree
  local -a apt
  from=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1)
  [ -n "$from" ] || { echo "apt knows no mirror of Debian: run apt-get update" >&2; exit 1; }
  mkdir -p "$where/lists/partial" "$where/archives/partial" "$tree"
  : >"$where/status"
  printf "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $from %s main\n" unstable experimental >"$where/sources.list"
  printf 'Package: postgresql-19 postgresql-client-19 libpq5\nPin: release a=experimental\nPin-Priority: 990\n' >"$where/preferences"
  apt=(-qq -o "Dir::Etc::sourcelist=$where/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::Etc::preferences=$where/preferences"
    -o Dir::Etc::preferencesparts=/dev/null -o "Dir::State::lists=$where/lists" -o "Dir::State::status=$where/status" -o "Dir::Cache=$where"
    -o "Dir::Cache::archives=$where/archives" -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o APT::Install-Recommends=false)
  apt-get "${apt[@]}" update
  apt-get "${apt[@]}" install -y --download-only "postgresql-19=$1" >/dev/null
  local deb program
  for deb in "$where"/archives/*.deb; do
    case ${deb##*/} in lib*.deb | postgresql-19_* | postgresql-client-19_*) dpkg-deb -x "$deb" "$tree" ;; esac
  done
  bin=$tree/usr/lib/postgresql/19/bin
  mkdir "$tree/programs"
  for program in "$bin"/*; do # each by the loader, under the name that it was called by
    mv "$program" "$tree/programs/"
    printf '#!/bin/sh\nlib=%s\nexec "$lib"/ld-linux*.so.* --argv0 "$0" --library-path "$lib" %s "$@"\n' "$tree/usr/lib/$(uname -m)-linux-gnu" \
      "$tree/programs/${program##*/}" >"$program"
    chmod 755 "$program"
  done
  run_server "Debian experimental, postgresql-19=$1"
}
