#!/usr/bin/env bash
# Compares bin/wal2vec with other programs that encode texts on the CPU; see scripts/bench_peers.py, which takes the arguments.
#
# usage: scripts/bench_peers.sh [ARGUMENT...]
#        scripts/bench_peers.sh --install     only set up what the others need
# settings: PYTHON=python3           makes the virtual environment below $WAL2VEC_CACHE
#           TORCH_INDEX=URL          an index that has torch for the CPU alone, such as https://download.pytorch.org/whl/cpu: PyPI's wheels for Linux
#                                    need 3 GB of CUDA's libraries to be imported at all
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"
make_cache
requirements=$root/scripts/bench_peers.txt
sum=$("${PYTHON:-python3}" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()[:12])' "$requirements")
venv=$cache/peers-$sum

if ! ours "$venv" || ! ours "$venv/complete"; then
  say "installing the programs to compare with into $venv (several GB)"
  rm -rf "$venv" # of an installation that was interrupted
  "${PYTHON:-python3}" -m venv "$venv"
  if [ -n "${TORCH_INDEX:-}" ]; then
    "$venv/bin/python" -m pip install --quiet --index-url "$TORCH_INDEX" "$(grep '^torch==' "$requirements")"
  fi
  "$venv/bin/python" -m pip install --quiet -r "$requirements"
  "$venv/bin/python" -c 'import onnx, onnxruntime, sentence_transformers, torch'
  touch "$venv/complete"
fi
[ "${1:-}" != --install ] || exit 0
# Models come from the parts: nothing is fetched or sent.
ours "$cache/parts/model" || die 2 "the model is not among the parts; try: make parts"
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 TRANSFORMERS_OFFLINE=1
exec "$venv/bin/python" "$root/scripts/bench_peers.py" --wal2vec "$root/bin/wal2vec" --cache "$cache" "$@"
