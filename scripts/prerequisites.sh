#!/usr/bin/env bash
# Checks that the tools a build needs are here, each with the version it needs. The first one
# missing is named in one line with the command that installs it, and the exit status is 2.
#
# usage: scripts/prerequisites.sh [go] [cc] [cargo] [python]     (default: all)
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

cargo_minimum=1.78 # reads version 4 of Cargo.lock
python_minimum=3.9
pip_minimum=20.3 # knows the manylinux_2_28 tag

# install APT DNF BREW: the install command of this system's package manager.
install() {
  local sudo=
  [ "$(id -u)" = 0 ] || sudo='sudo '
  if command -v apt-get >/dev/null; then
    echo "${sudo}apt-get install -y $1"
  elif command -v dnf >/dev/null; then
    echo "${sudo}dnf install -y $2"
  elif command -v brew >/dev/null; then
    echo "brew install $3"
  else
    echo "install $1 with your package manager"
  fi
}

install_go() {
  if command -v brew >/dev/null; then
    echo "brew install go"
  else
    local sudo=
    [ "$(id -u)" = 0 ] || sudo='sudo '
    detect_platform
    echo "curl -fsSL https://go.dev/dl/go$go_minimum.$platform.tar.gz | ${sudo}tar -C /usr/local -xz && export PATH=/usr/local/go/bin:\$PATH"
  fi
}

install_rust="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""

check_go() {
  local have
  go_minimum=$(sed -n 's/^go \([0-9.]*\).*/\1/p' "$root/go.mod")
  command -v go >/dev/null || die 2 "Go $go_minimum or later is missing; try: $(install_go)"
  # Asked inside the checkout: an older Go that may fetch the toolchain of go.mod does so here.
  have=$(cd "$root" && go env GOVERSION 2>/dev/null) || have=
  have=${have#go}
  if ! version_at_least "${have:-0}" "$go_minimum"; then
    have=$(cd / && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || have='of an unknown version'
    die 2 "Go $go_minimum or later is needed, this one is ${have#go}; try: $(install_go)"
  fi
}

check_cc() {
  local cc=${CC:-}
  [ -n "$cc" ] || cc=$(command -v gcc || command -v clang || command -v cc) ||
    die 2 "a C compiler is missing; try: $(install build-essential 'gcc gcc-c++' gcc)"
  command -v "${cc%% *}" >/dev/null ||
    die 2 "the C compiler CC=$cc is missing; try: $(install build-essential 'gcc gcc-c++' gcc)"
  local cxx=${CXX:-}
  [ -n "$cxx" ] || cxx=$(command -v g++ || command -v clang++ || command -v c++) ||
    die 2 "a C++ compiler is missing; try: $(install g++ gcc-c++ gcc)"
  command -v "${cxx%% *}" >/dev/null ||
    die 2 "the C++ compiler CXX=$cxx is missing; try: $(install g++ gcc-c++ gcc)"
}

check_cargo() {
  local have
  command -v cargo >/dev/null || die 2 "cargo $cargo_minimum or later is missing; try: $install_rust"
  have=$(cargo --version 2>/dev/null) ||
    die 2 "cargo is here but does not run (a rustup without a toolchain?); try: rustup default stable"
  have=${have#cargo }
  have=${have%% *}
  version_at_least "$have" "$cargo_minimum" ||
    die 2 "cargo $cargo_minimum or later is needed, this one is $have; try: $install_rust"
}

check_python() {
  local have
  command -v python3 >/dev/null ||
    die 2 "python3 $python_minimum or later is missing; try: $(install 'python3 python3-pip' 'python3 python3-pip' python)"
  have=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || have=0
  version_at_least "$have" "$python_minimum" ||
    die 2 "python3 $python_minimum or later is needed, this one is $have; try: $(install 'python3 python3-pip' python3.11 python)"
  have=$(python3 -m pip --version 2>/dev/null) ||
    die 2 "pip for python3 is missing; try: $(install python3-pip python3-pip python)"
  have=${have#pip }
  have=${have%% *}
  version_at_least "$have" "$pip_minimum" ||
    die 2 "pip $pip_minimum or later is needed, this one is $have; try: python3 -m pip install --user --upgrade pip"
}

[ $# -gt 0 ] || set -- go cc cargo python
for tool in "$@"; do
  case $tool in
    go | cc | cargo | python) "check_$tool" ;;
    *) die 2 "prerequisites.sh knows go, cc, cargo and python, not $tool" ;;
  esac
done
