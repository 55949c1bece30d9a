#!/usr/bin/env bash
# Measures encoding on this machine's GPU, from text to vectors, beside sentence-transformers in fp16 on the same distinct texts, and
# prints one JSON object: the medians, their spread, and the ratio.
#
# It needs bin/wal2vec, the parts with CUDA (make parts GPU=1), a file of products, and a Python that has torch with CUDA and
# sentence-transformers. Nothing else should run at the same time.
#
# usage: scripts/gpu_bench.sh DATA [ROWS]     DATA: JSON lines with name, brand, category, description, plain or .zst; ROWS: 120000
# settings: WAL2VEC=bin/wal2vec  PYTHON=python3  RUNS=5  PEER_ROWS=20000  PEER_BATCHES="32 128 512 2048"  PEER=no leaves it out
#           WAL2VEC_HOME, WAL2VEC_CACHE: where the parts are, as for wal2vec itself
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"
[ $# -ge 1 ] || die 2 "usage: scripts/gpu_bench.sh DATA [ROWS]"
data=$1 rows=${2:-120000}
binary=${WAL2VEC:-$root/bin/wal2vec} python=${PYTHON:-python3}
[ -x "$binary" ] || die 2 "there is no program $binary; try: make build"
[ -r "$data" ] || die 2 "there is no file $data"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for run in $(seq "${RUNS:-5}"); do
  say "run $run of ${RUNS:-5}"
  # A device that is asked for by name and fails is an error: no figure of a CPU can slip in.
  WAL2VEC_ENCODER_DEVICE=cuda "$binary" bench encode --data "$data" --rows "$rows" >"$work/run.$run.json"
done

cat >"$work/report.py" <<'PYTHON'
import glob, json, os, statistics, subprocess, sys, time

work, data, model, peer_rows, batches = sys.argv[1:6]
runs = [json.load(open(name)) for name in sorted(glob.glob(work + "/run.*.json"))]
query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
report = {
    "gpus": subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().splitlines(),
    "machine": runs[0]["machine"], "versions": runs[0]["versions"], "settings": runs[0]["settings"],
}


def summary(figures):
    return {"median": statistics.median(figures), "least": min(figures), "most": max(figures), "runs": len(figures)}


own = [run["figures"] for run in runs]
report["wal2vec"] = {
    "texts": own[0]["texts"], "tokens_per_text": round(own[0]["tokens"] / own[0]["texts"], 2),
    "texts_per_second": summary([f["texts_per_second"] for f in own]),
    "tokens_per_second": summary([f["tokens_per_second"] for f in own]),
}


def texts():
    unpacked = subprocess.run(["zstd", "-dc", data], capture_output=True, check=True).stdout if data.endswith(".zst") else open(data, "rb").read()
    seen = {}
    for line in unpacked.splitlines():
        row = json.loads(line)
        seen.setdefault("{name}. {brand}. {category}. {description}".format(**row))
        if len(seen) == int(peer_rows):
            break
    return list(seen)


if model:
    import sentence_transformers, torch

    peer = sentence_transformers.SentenceTransformer(model, device="cuda").half()
    peer.max_seq_length = 256
    list_of_texts = texts()
    peer.encode(list_of_texts[:4096], batch_size=256)
    figures = {}
    for batch in batches.split():
        rates = []
        for _ in range(3):
            begun = time.perf_counter()
            peer.encode(list_of_texts, batch_size=int(batch))
            torch.cuda.synchronize()
            rates.append(len(list_of_texts) / (time.perf_counter() - begun))
        figures[batch] = summary(rates)
    best = max(figures, key=lambda batch: figures[batch]["median"])
    report["sentence_transformers"] = {
        "version": sentence_transformers.__version__, "torch": torch.__version__, "precision": "fp16", "texts": len(list_of_texts),
        "texts_per_second_by_batch": figures, "best_batch": int(best),
    }
    report["ratio"] = round(report["wal2vec"]["texts_per_second"]["median"] / figures[best]["median"], 2)
print(json.dumps(report, indent=2))
PYTHON

model=
if [ "${PEER:-yes}" != no ]; then
  model=$(find "${WAL2VEC_HOME:-$cache/parts}/model/all-MiniLM-L6-v2" -maxdepth 0 2>/dev/null) ||
    die 2 "the model is not among the parts; try: make parts"
  [ -n "${WAL2VEC_HOME:-}" ] || ours "$model"
  say "sentence-transformers"
fi
"$python" "$work/report.py" "$work" "$data" "$model" "${PEER_ROWS:-20000}" "${PEER_BATCHES:-32 128 512 2048}"
