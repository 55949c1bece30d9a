#!/usr/bin/env python3
"""Compares bin/wal2vec with other programs that encode the same texts with the same model on the same cores.

Each program is a process of its own, on as many threads as there are cores, with texts cut at 256 tokens:

    wal2vec-int8, wal2vec-fp32   wal2vec bench encode
    st-fp32, st-bf16             sentence-transformers
    fastembed                    ONNX Runtime with fastembed's settings: fp32, batches in the order of the texts, pooled in numpy
    ort-fp32                     the same with the texts sorted by length, which is the best that a user can do by hand
    ort-int8                     the same with the model quantised by onnxruntime.quantization.quantize_dynamic

The batch size of each of the others is searched first. Then they take turns: in each round every program encodes the same texts, which no other
round has. Loading and a warm-up are not in the figures. Whoever waits is stopped. Last, all encode one sample, and the vectors are compared:
programs that do not do the same work are an error.

A table goes to standard error, one JSON object to standard output. scripts/bench_peers.sh sets up what this needs, and runs it.
"""

import argparse
import atexit
import hashlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

MAX_TOKENS = 256
DIMENSION = 384
WARM_UP = 64  # texts that a program encodes before each measurement
OWN = ("wal2vec-int8", "wal2vec-fp32")
PEERS = ("st-fp32", "st-bf16", "fastembed", "ort-fp32", "ort-int8")
# How near the vectors of wal2vec in fp32 those of a program must be: fp32 is the same arithmetic, the others round.
LEAST_MEAN_COSINE = {"st-fp32": 0.9999, "fastembed": 0.9999, "ort-fp32": 0.9999, "st-bf16": 0.99, "ort-int8": 0.9, "wal2vec-int8": 0.998}


# The other programs. Each function returns encode(texts, batch), which returns vectors of length 1 in the order of the texts.


def sentence_transformers(folder, cores, bfloat16):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(cores)
    model = SentenceTransformer(folder, device="cpu")
    model.max_seq_length = MAX_TOKENS
    model = model.bfloat16() if bfloat16 else model.float()
    return lambda texts, batch: model.encode(texts, batch_size=batch, show_progress_bar=False)


def onnx_runtime(folder, cores, graph, by_length):
    import numpy
    import onnxruntime
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()  # to the longest of a batch
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(texts):
        encoded = tokenizer.encode_batch(texts)
        ids = numpy.array([e.ids for e in encoded], dtype=numpy.int64)
        mask = numpy.array([e.attention_mask for e in encoded], dtype=numpy.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        hidden = session.run(None, inputs)[0]
        weights = mask[:, :, None].astype(numpy.float32)
        pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        return pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True)

    def encode(texts, batch):
        order = sorted(range(len(texts)), key=lambda i: len(texts[i])) if by_length else range(len(texts))
        order = list(order)
        vectors = numpy.empty((len(texts), DIMENSION), dtype=numpy.float32)
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            vectors[part] = run([texts[i] for i in part])
        return vectors

    return encode


def open_peer(name, folder, graphs, cores):
    if name.startswith("st-"):
        return sentence_transformers(folder, cores, name == "st-bf16")
    graph = graphs / ("int8.onnx" if name == "ort-int8" else "fp32.onnx")
    return onnx_runtime(folder, cores, str(graph), name != "fastembed")


def export(folder, graphs):
    """Writes the ONNX graphs of the checkpoint: fp32, as exported, and int8, quantised as ONNX Runtime's documentation does it."""
    import onnxruntime.quantization
    import torch
    import transformers

    class Hidden(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state

    model = transformers.BertModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    ids = torch.randint(1000, 2000, (2, 16))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    whole = graphs / "fp32.onnx"
    torch.onnx.export(
        Hidden(model), (ids, torch.ones_like(ids), torch.zeros_like(ids)), str(whole), input_names=names, output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in [*names, "last_hidden_state"]}, opset_version=17, dynamo=False,
    )
    onnxruntime.quantization.quantize_dynamic(str(whole), str(graphs / "int8.onnx"), weight_type=onnxruntime.quantization.QuantType.QInt8)


# The processes.


def read_texts(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def work(arguments):
    """A peer's process: reads orders from standard input, one JSON object a line, and answers each with how long it took."""
    encode = open_peer(arguments.worker, arguments.model, pathlib.Path(arguments.graphs), arguments.cores)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        texts = read_texts(order["texts"])
        encode(texts[:WARM_UP], order["batch"])
        begun = time.perf_counter()
        vectors = encode(texts, order["batch"])
        seconds = time.perf_counter() - begun
        if order.get("vectors"):
            vectors.astype("<f4").tofile(order["vectors"])
        print(json.dumps({"seconds": seconds}), flush=True)


class Peer:
    """A peer's process, which is stopped while others have their turn: threads that spin would take their time."""

    def __init__(self, name, model, graphs, cores):
        self.name, self.batch, self.searched = name, None, {}
        threads = {"OMP_NUM_THREADS": str(cores), "RAYON_NUM_THREADS": str(cores), "TOKENIZERS_PARALLELISM": "true"}
        environment = {**os.environ, **threads, "TQDM_DISABLE": "1"}
        command = [sys.executable, __file__, "--worker", name, "--model", model, "--graphs", str(graphs), "--cores", str(cores)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        atexit.register(self.process.kill)  # one that is stopped does not notice that we end
        self.answer()
        self.process.send_signal(signal.SIGSTOP)

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"error: {self.name} ended with status {self.process.wait()}; its output is above")
        return json.loads(line)

    def encode(self, texts, batch, vectors=None):
        """Returns the seconds that encoding the texts of a file took."""
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps({"texts": texts, "batch": batch, "vectors": vectors}) + "\n")
        self.process.stdin.flush()
        seconds = self.answer()["seconds"]
        self.process.send_signal(signal.SIGSTOP)
        return seconds

    def search(self, texts, batches, count):
        """Finds the batch size with which the texts are encoded fastest."""
        for batch in batches:
            self.searched[batch] = round(count / self.encode(texts, batch), 1)
        self.batch = max(self.searched, key=self.searched.get)

    def measure(self, texts, vectors=None):
        return self.encode(texts, self.batch, vectors)

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()


class Wal2vec:
    """wal2vec bench encode: each measurement is a process, which loads the model anew."""

    def __init__(self, name, program, cores):
        self.name, self.batch, self.searched, self.report = name, None, {}, None
        self.command = [
            program, "bench", "encode", "--device", "cpu", "--encoder-precision", name.removeprefix("wal2vec-"),
            "--encoder-threads", str(cores), "--warm-up", str(WARM_UP), "--log-level", "warn",
        ]

    def measure(self, texts, vectors=None):
        with open(texts, encoding="utf-8") as lines:
            rows = sum(1 for _ in lines)
        command = [*self.command, "--data", texts, "--rows", str(rows)] + (["--vectors", vectors] if vectors else [])
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"error: {self.name} ended with status {done.returncode}; its output is above")
        self.report = json.loads(done.stdout)
        return self.report["figures"]["duration_seconds"]

    def end(self):
        pass


# The comparison.


def say(text):
    print(text, file=sys.stderr, flush=True)


def write_texts(arguments, folder):
    """Writes the texts of the search and of each round, all distinct, and returns the files."""
    counts = [arguments.search_texts] + [arguments.texts] * arguments.rounds
    command = [arguments.wal2vec, "bench", "data", "--rows", str(sum(counts))] + (["--data", arguments.data] if arguments.data else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(command)} ended with status {done.returncode}")
    lines, files = done.stdout.splitlines(keepends=True), []
    for number, count in enumerate(counts):
        path = folder / f"texts.{number}.jsonl"
        path.write_text("".join(lines[:count]), encoding="utf-8")
        lines = lines[count:]
        files.append(str(path))
    return files[0], files[1:]


def exported(arguments):
    """Returns the folder with the ONNX graphs of the model, made by the first call."""
    digest = hashlib.sha256((pathlib.Path(arguments.model) / "model.safetensors").read_bytes()).hexdigest()[:12]
    graphs = pathlib.Path(sys.prefix) / "graphs" / digest
    if not (graphs / "int8.onnx").exists():
        say("exporting the model to ONNX")
        graphs.mkdir(parents=True, exist_ok=True)
        # Into files of other names first: an export that was interrupted is no graph.
        with tempfile.TemporaryDirectory(dir=graphs) as fresh:
            command = [sys.executable, __file__, "--export", "--model", arguments.model, "--graphs", fresh]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # pages of warnings
            if done.returncode != 0:
                sys.exit(f"{done.stdout}error: exporting the model ended with status {done.returncode}")
            for name in ("fp32.onnx", "int8.onnx"):
                os.replace(os.path.join(fresh, name), graphs / name)
    return graphs


def agreement(programs, texts, folder):
    """Compares the vectors of every program with those of wal2vec in fp32."""
    import numpy

    found = {}
    for program in programs:
        path = str(folder / (program.name + ".f32"))
        program.measure(texts, path)
        found[program.name] = numpy.fromfile(path, dtype="<f4").reshape(-1, DIMENSION).astype(float)
    reference = found["wal2vec-fp32"]
    result = {}
    for name, vectors in found.items():
        norms = numpy.linalg.norm(vectors, axis=1) * numpy.linalg.norm(reference, axis=1)
        cosines = (vectors * reference).sum(axis=1) / norms
        result[name] = {"cosine_mean": round(float(cosines.mean()), 6), "cosine_min": round(float(cosines.min()), 6)}
        if not cosines.mean() >= LEAST_MEAN_COSINE.get(name, 0.9999):
            sys.exit(f"error: {name} does not encode as wal2vec does: mean cosine {cosines.mean():.4f}")
    return result


def summary(program, rates, agreed):
    result = {
        "texts_per_second": {"median": round(statistics.median(rates), 1), "least": round(min(rates), 1), "most": round(max(rates), 1)},
        "rounds": [round(rate, 1) for rate in rates], "vectors": agreed,
    }
    if program.batch:
        result["batch"], result["searched_batches"] = program.batch, {str(batch): rate for batch, rate in program.searched.items()}
    return result


def ratios(rates):
    """How many times as fast wal2vec is: the medians' ratio, and the least and the most of a round."""
    result = {}
    for own in OWN:
        for peer, figures in rates.items():
            if peer in OWN:
                continue
            rounds = [x / y for x, y in zip(rates[own], figures)]
            medians = statistics.median(rates[own]) / statistics.median(figures)
            result.setdefault(own, {})[peer] = {"of_medians": round(medians, 2), "least": round(min(rounds), 2), "most": round(max(rounds), 2)}
    return result


def table(report):
    say(f"\n{'program':14}{'batch':>6}{'texts/s':>10}{'least':>9}{'most':>9}{'cosine':>9}{'int8 is':>9}{'fp32 is':>9}")
    for name, p in report["programs"].items():
        rate = p["texts_per_second"]
        times = [f"{report['ratios'][own][name]['of_medians']:.2f} x" if name in report["ratios"][own] else "" for own in OWN]
        say(
            f"{name:14}{p.get('batch', ''):>6}{rate['median']:>10.1f}{rate['least']:>9.1f}{rate['most']:>9.1f}"
            f"{p['vectors']['cosine_mean']:>9.4f}{times[0]:>9}{times[1]:>9}"
        )
    say("\ntexts a second are medians of the rounds; 'int8 is' and 'fp32 is' say how many times as fast wal2vec's are\n")


def versions():
    from importlib.metadata import version

    names = ("torch", "sentence-transformers", "transformers", "tokenizers", "onnxruntime", "numpy")
    return {"python": sys.version.split()[0], **{name: version(name) for name in names}}


def compare(arguments):
    # Whatever is started from here on runs on these cores alone.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    graphs = exported(arguments)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        search, rounds = write_texts(arguments, folder)
        programs = [Wal2vec(name, arguments.wal2vec, arguments.cores) for name in OWN]
        for name in arguments.peers.split(","):
            say(f"{name}: loading")
            peer = Peer(name, arguments.model, graphs, arguments.cores)
            programs.append(peer)
            peer.search(search, [int(batch) for batch in arguments.batches.split(",")], arguments.search_texts)
            say(f"{name}: {peer.searched} texts/s by batch size, {peer.batch} is best")
        rates = {program.name: [] for program in programs}
        for number, texts in enumerate(rounds):
            for program in programs:
                rates[program.name].append(arguments.texts / program.measure(texts))
            say(f"round {number + 1} of {len(rounds)}: " + ", ".join(f"{name} {figures[-1]:.0f}" for name, figures in rates.items()))
        agreed = agreement(programs, search, folder)
        own = programs[0].report
        report = {
            "bench": "peers", "machine": own["machine"], "versions": {**own["versions"], **versions()},
            "settings": {
                "cores": arguments.cores, "rounds": arguments.rounds, "texts_a_round": arguments.texts, "max_tokens": MAX_TOKENS,
                "data": arguments.data or "", "load_average_1m": arguments.load,
            },
            "programs": {p.name: summary(p, rates[p.name], agreed[p.name]) for p in programs}, "ratios": ratios(rates),
        }
        for program in programs:
            program.end()
    table(report)
    print(json.dumps(report, indent=2))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wal2vec", help="the program")
    parser.add_argument("--cache", help="where the parts are")
    parser.add_argument("--data", help="JSON lines of products, also .zst (default: made-up products)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=1000, help="distinct texts a round")
    parser.add_argument("--search-texts", type=int, default=512, help="texts with which the batch size is searched")
    parser.add_argument("--batches", default="8,16,32,64,128,256")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--model", help="the checkpoint's folder (default: all-MiniLM-L6-v2 of the parts)")
    parser.add_argument("--worker", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--export", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--graphs", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments)
    if arguments.export:
        return export(arguments.model, pathlib.Path(arguments.graphs))
    if not arguments.wal2vec or not os.access(arguments.wal2vec, os.X_OK):
        sys.exit(f"error: there is no program {arguments.wal2vec}; try: make build")
    if not set(arguments.peers.split(",")) <= set(PEERS):
        sys.exit(f"error: --peers {arguments.peers}: choose from {','.join(PEERS)}")
    if arguments.data and not os.access(arguments.data, os.R_OK):
        sys.exit(f"error: there is no file {arguments.data}")
    arguments.data = arguments.data and os.path.abspath(arguments.data)
    home = os.environ.setdefault("WAL2VEC_HOME", os.path.join(arguments.cache, "parts"))
    arguments.model = arguments.model or os.path.join(home, "model", "all-MiniLM-L6-v2")
    arguments.load = round(os.getloadavg()[0], 2)
    if arguments.load > 0.5:
        say(f"warning: something else runs here (load {arguments.load}): the figures will be worth little")
    compare(arguments)


if __name__ == "__main__":
    main()
