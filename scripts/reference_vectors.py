#!/usr/bin/env python3
"""Writes the reference vectors that the encoder is compared with.

Reads encoder/reference/texts.json (a JSON array of texts) and writes encoder/reference/all-MiniLM-L6-v2.f32: one vector of 384
little-endian float32 a text, in the same order, as sentence-transformers computes them in fp32 on a CPU, each text alone, so
that no padding takes part. Beside it, all-MiniLM-L6-v2.tokens.json holds each text's number of tokens before truncation. Run it again only when the texts change; neither the build nor a test needs it.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install sentence-transformers==6.2.0
    HF_HUB_OFFLINE=1 /tmp/venv/bin/python scripts/reference_vectors.py .cache/parts/model/all-MiniLM-L6-v2
"""

import json
import pathlib
import sys

import numpy
import torch
from sentence_transformers import SentenceTransformer, __version__


def main() -> None:
    folder = pathlib.Path(__file__).resolve().parent.parent / "encoder" / "reference"
    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
    model = SentenceTransformer(sys.argv[1], device="cpu", model_kwargs={"torch_dtype": torch.float32})
    vectors = numpy.stack([model.encode([text], convert_to_numpy=True)[0] for text in texts]).astype("<f4")
    lengths = [len(model.tokenizer(text)["input_ids"]) for text in texts]
    if abs(numpy.linalg.norm(vectors, axis=1) - 1).max() > 1e-5:
        sys.exit("the vectors are not of length 1: is this the right model?")
    vectors.tofile(folder / "all-MiniLM-L6-v2.f32")
    (folder / "all-MiniLM-L6-v2.tokens.json").write_text(json.dumps(lengths) + "\n", encoding="utf-8")
    print(f"{len(texts)} texts of {min(lengths)} to {max(lengths)} tokens before truncation at {model.max_seq_length}, "
          f"sentence-transformers {__version__}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
