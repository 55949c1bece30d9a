#!/usr/bin/env bash
# Prints the path of a pinned development tool, after setting it up below $WAL2VEC_CACHE/tools
# if it is not there yet.
#
# usage: scripts/tools.sh golangci-lint | govulncheck | promtool
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

golangci_lint=v2.15.0
golangci_lint_sum=h1:w94zf8HAYI7hm3164kwKsvZRuqXvY+YxeFoTbu1OLg8=
govulncheck=v1.9.0
govulncheck_sum=h1:12VaqnI9kJfqwRoPptxoqsUhQtdfrSbdksT7X/KY/sc=
promtool_minimum=2.40

# has_tool: $tool is there, and no other account could have put it there.
has_tool() { ours "$tool" && [ -x "$tool" ]; }

# set_up_go_tool NAME PACKAGE VERSION CHECKSUM builds a tool from its module, whose checksum it
# holds against ours. A tool built by an older Go than the checkout's cannot read it, so the
# folder's name has Go's version too.
set_up_go_tool() {
  local name=$1 package=$2 version=$3 sum=$4 folder
  "$root/scripts/prerequisites.sh" go python
  folder=$cache/tools/$name-$version-$(go -C "$root" env GOVERSION)
  tool=$folder/$name
  ! has_tool || return 0
  make_cache
  lock_cache
  ! has_tool || return 0
  say "building $name $version (up to two minutes)"
  GOFLAGS='' CGO_ENABLED=0 GOBIN=$work/built quietly "building $name" go install "$package@$version"
  go version -m "$work/built/$name" | grep -qF "$sum" ||
    die 1 "the source of $name $version is not the one whose checksum scripts/tools.sh has"
  ours "$cache/tools" make || die 1 "making $cache/tools"
  mv "$work/built" "$folder"
}

# promtool_fits PATH: it runs and is new enough to know every field of our rule tests.
promtool_fits() {
  local have
  have=$("$1" --version 2>&1 | sed -n 's/^promtool, version \([0-9.]*\).*/\1/p') || return 1
  [ -n "$have" ] && version_at_least "$have" "$promtool_minimum"
}

# set_up_promtool takes it from PATH, else out of Debian's package, without installing that.
set_up_promtool() {
  tool=$(command -v promtool || true)
  if [ -n "$tool" ] && promtool_fits "$tool"; then return 0; fi
  tool=$cache/tools/promtool/promtool
  if has_tool && promtool_fits "$tool"; then return 0; fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    die 2 "promtool $promtool_minimum or later is missing; try: brew install prometheus (or your system's package prometheus)"
  fi
  "$root/scripts/prerequisites.sh" python
  make_cache
  lock_cache
  say "unpacking promtool from the package prometheus"
  mkdir -p "$work/deb"
  download_deb prometheus "$work/deb"
  dpkg-deb -x "$work"/deb/prometheus_*.deb "$work/deb/tree"
  mkdir -p "$work/promtool"
  ours "$cache/tools" make || die 1 "making $cache/tools"
  cp "$work/deb/tree/usr/bin/promtool" "$work/promtool/"
  promtool_fits "$work/promtool/promtool" ||
    die 2 "promtool of this system's package prometheus is older than $promtool_minimum; put a newer one on PATH"
  rm -rf "$cache/tools/promtool"
  mv "$work/promtool" "$cache/tools/promtool"
}

# download_deb PACKAGE FOLDER: with the system's package lists, or, where there are none (a fresh
# container, and no right to fetch them), with lists of our own.
download_deb() {
  local -a own=()
  if ! (cd "$2" && apt-get download "$1") >"$work/log" 2>&1 9>&-; then
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
    own=(-o "Dir::State::lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache" -o APT::Sandbox::User=)
    quietly "fetching package lists (the system's can be refreshed by: sudo apt-get update)" apt-get "${own[@]}" update
    cd "$2"
    quietly "downloading the package $1" apt-get "${own[@]}" download "$1"
    cd "$root"
  fi
}

case ${1:-} in
  golangci-lint)
    set_up_go_tool golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint "$golangci_lint" "$golangci_lint_sum"
    ;;
  govulncheck) set_up_go_tool govulncheck golang.org/x/vuln/cmd/govulncheck "$govulncheck" "$govulncheck_sum" ;;
  promtool) set_up_promtool ;;
  *) die 2 "tools.sh knows golangci-lint, govulncheck and promtool, not ${1:-nothing}" ;;
esac
echo "$tool"
