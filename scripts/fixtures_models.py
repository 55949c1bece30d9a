#!/usr/bin/env python3
"""Writes models/testdata/checkpoints: tiny random checkpoints of every kind that package models reads, each with the vectors that
sentence-transformers gives a few texts (expected.json). Run it again only when a kind is added; neither the build nor a test needs
it.

    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install torch==2.15.0 transformers==5.24.0 sentence-transformers==6.2.0 onnx==1.23.2 onnxscript==0.7.2
    HF_HUB_OFFLINE=1 /tmp/venv/bin/python scripts/fixtures_models.py
"""

import json
import pathlib
import shutil
import sys
import tempfile

import onnx
import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ("steel bottle lamp chair wood kettle warm blanket tea cup red blue green query passage search for to in a the and with of "
         "keeps hot cold light light weight").split()
PIECES = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789.,:!?")

TEXTS = ["", "steel bottle", "A red lamp.", "kettle, warm blanket and a cup of tea", "the wood chair with green light: 120 x 45",
         "Unknown words fall apart, zebra!", "lamp", "the steel bottle keeps tea hot for 12 hours and the cup cold, wood and steel",
         "Flasche für Tee 鋼", "query: a cup"]

MODULES = {
    "Transformer": {"path": "", "type": "sentence_transformers.models.Transformer"},
    "Pooling": {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    "Normalize": {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
}


def tokenizer(special):
    """A WordPiece tokenizer like BERT's; special names its pad, unknown, first and last token in the order of their ids."""
    pad, unknown, first, last = special["pad"], special["unk"], special["cls"], special["sep"]
    vocabulary = {}
    for word in special["order"] + WORDS + PIECES + ["##" + piece for piece in PIECES]:
        vocabulary.setdefault(word, len(vocabulary))
    t = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, vocabulary[first]), (last, vocabulary[last])])
    t.add_special_tokens([pad, unknown, first, last])
    return t, vocabulary


BERT_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "order": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]}
ROBERTA_SPECIAL = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "order": ["<s>", "<pad>", "</s>", "<unk>"]}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(1 + 0.2 * noise if name.endswith("LayerNorm.weight") or name.endswith("layer_norm.weight") else 0.25 * noise)
    return model.eval()


SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}


def bert(vocabulary, seed, cls=transformers.BertModel, **config):
    config = {**SIZES, "max_position_embeddings": 24, "vocab_size": len(vocabulary), **config}
    return randomise(cls(transformers.BertConfig(**config)), seed)


def distilbert(vocabulary, seed):
    return randomise(transformers.DistilBertModel(transformers.DistilBertConfig(
        vocab_size=len(vocabulary), max_position_embeddings=24, dim=16, hidden_dim=24, n_layers=2, n_heads=2)), seed)


class Folder:
    """A checkpoint that is being written."""

    def __init__(self, root, name, special=BERT_SPECIAL):
        self.path = root / name
        self.path.mkdir(parents=True)
        t, self.vocabulary = tokenizer(special)
        t.save(str(self.path / "tokenizer.json"), pretty=False)
        write_json(self.path / "tokenizer_config.json", {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 20, "pad_token": special["pad"],
            "unk_token": special["unk"], "cls_token": special["cls"], "sep_token": special["sep"]})

    def model(self, model, **arguments):
        self.dimension = model.config.hidden_size
        model.save_pretrained(self.path, **arguments)
        return self

    def modules(self, pooling="mean", normalise=True, max_tokens=16, **prompts):
        names = ["Transformer", "Pooling"] + (["Normalize"] if normalise else [])
        write_json(self.path / "modules.json", [{"idx": i, "name": str(i), **MODULES[n]} for i, n in enumerate(names)])
        write_json(self.path / "1_Pooling" / "config.json", {
            "word_embedding_dimension": self.dimension, "pooling_mode_cls_token": pooling == "cls",
            "pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False})
        if max_tokens:
            write_json(self.path / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
        if prompts:
            write_json(self.path / "config_sentence_transformers.json", prompts)
        return self

    def expect(self, query="", passage="", tolerance=1e-5):
        """Stores what sentence-transformers computes in fp32, each text alone."""
        st = SentenceTransformer(str(self.path), device="cpu", model_kwargs={"dtype": torch.float32})

        def encode(prompt):
            return [[round(float(x), 8) for x in st.encode([text], prompt=prompt, convert_to_numpy=True)[0]] for text in TEXTS]

        def ids(prompt):
            return [st.tokenizer(prompt + text, truncation=True, max_length=st.max_seq_length)["input_ids"] for text in TEXTS]

        write_json(self.path / "expected.json", {
            "texts": TEXTS, "max_tokens": st.max_seq_length, "tolerance": tolerance, "query_prefix": query, "passage_prefix": passage,
            "passage_ids": ids(passage), "passage": encode(passage), "query": encode(query) if query != passage else None})
        compact(self.path / "expected.json")
        return st

    def export(self, model, inputs, outputs, opset, pooled=None, half=False, dynamo=False):
        """Writes onnx/model.onnx and takes the weights away."""
        names = {"input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 8, 3]]), "attention_mask": torch.ones(2, 4, dtype=torch.int64),
                 "token_type_ids": torch.zeros(2, 4, dtype=torch.int64)}
        wrapper = Wrapper(model, inputs, pooled)
        if half:
            wrapper = wrapper.half()
        target = self.path / "onnx" / "model.onnx"
        target.parent.mkdir()
        arguments = {"input_names": inputs, "output_names": outputs, "opset_version": opset, "external_data": False, "dynamo": dynamo}
        if dynamo:
            batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence", min=2, max=24)
            arguments["dynamic_shapes"] = [tuple({0: batch, 1: sequence} for _ in inputs)]
        else:
            axes = {n: {0: "batch", 1: "sequence"} for n in inputs}
            for name in outputs:
                axes[name] = {0: "batch"} if name in ("sentence_embedding", "pooler_output") else {0: "batch", 1: "sequence"}
            arguments["dynamic_axes"] = axes
        torch.onnx.export(wrapper, tuple(names[n] for n in inputs), str(target), **arguments)
        exported = onnx.load(str(target))
        onnx.checker.check_model(exported, full_check=True)
        strip(exported)
        onnx.save(exported, str(target))
        (self.path / "model.safetensors").unlink()
        return self


def strip(exported):
    """Takes away what tells where the exporter ran, and shapes that nobody reads."""
    del exported.graph.value_info[:]
    for part in [exported, exported.graph, *exported.graph.node, *exported.graph.input, *exported.graph.output, *exported.graph.initializer]:
        part.ClearField("doc_string")
        del part.metadata_props[:]


class Wrapper(torch.nn.Module):
    """A model whose inputs are positional, as the exporter wants them."""

    def __init__(self, model, inputs, pooled):
        super().__init__()
        self.model, self.inputs, self.pooled = model, inputs, pooled

    def forward(self, *values):
        out = self.model(**dict(zip(self.inputs, values)))
        if self.pooled:
            return self.pooled(out.last_hidden_state)
        if getattr(out, "pooler_output", None) is not None:
            return out.last_hidden_state, out.pooler_output
        return out.last_hidden_state


def compact(path):
    """One vector a line."""
    value = json.loads(path.read_text(encoding="utf-8"))
    lines = []
    for key, entry in value.items():
        if isinstance(entry, list) and entry and isinstance(entry[0], list):
            rows = ",\n  ".join(json.dumps(row, separators=(",", ":")) for row in entry)
            lines.append(f" {json.dumps(key)}: [\n  {rows}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(entry, ensure_ascii=False)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def convert(path, dtype):
    tensors = load_file(path)
    save_file({name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}, path, metadata={"format": "pt"})


def safetensors_kinds(root):
    def plain(name, **modules):
        f = Folder(root, name)
        return f.model(bert(f.vocabulary, 1, **SMALL)).modules(**modules)

    f = Folder(root, "bert-mean")
    f.model(bert(f.vocabulary, 0)).modules().expect()
    plain("bert-cls", pooling="cls").expect()
    plain("bert-cls-raw", pooling="cls", normalise=False).expect()
    plain("bert-mean-raw", normalise=False, max_tokens=None).expect()
    plain("bert-prompts", prompts={"query": "query: ", "passage": "passage: "}, default_prompt_name="query").expect("query: ", "passage: ")

    f = Folder(root, "bert-headed-f16")
    f.model(bert(f.vocabulary, 2, transformers.BertForMaskedLM)).modules()
    convert(f.path / "model.safetensors", torch.float16)
    f.expect()
    f = Folder(root, "bert-relu-bf16")
    f.model(bert(f.vocabulary, 3, hidden_act="relu", type_vocab_size=1)).modules()
    convert(f.path / "model.safetensors", torch.bfloat16)
    f.expect()
    f = Folder(root, "bert-tanh-sharded")
    f.model(bert(f.vocabulary, 4, hidden_act="gelu_new", **SMALL), max_shard_size="10KB").modules().expect()

    f = Folder(root, "distilbert-mean")
    f.model(distilbert(f.vocabulary, 8)).modules(normalise=False).expect()

    # The folder as the newest sentence-transformers saves it.
    with tempfile.TemporaryDirectory() as temporary:
        f = Folder(pathlib.Path(temporary), "old")
        f.model(bert(f.vocabulary, 5, **SMALL)).modules(prompts={"query": "search for ", "document": "a "})
        saved = root / "bert-saved"
        SentenceTransformer(str(f.path), device="cpu").save(str(saved), create_model_card=False)
        f.path = saved
        f.expect("search for ", "a ")


def onnx_kinds(root):
    both, three = ["input_ids", "attention_mask"], ["input_ids", "attention_mask", "token_type_ids"]

    def kind(name, seed, **modules):
        f = Folder(root, name)
        m = bert(f.vocabulary, seed, **SMALL)
        return f.model(m).modules(**modules), m

    f, m = kind("onnx-tokens", 11)
    f.expect()
    f.export(m, three, ["last_hidden_state", "pooler_output"], 18, dynamo=True)
    f, m = kind("onnx-opset14", 12, pooling="cls", normalise=False)
    f.expect()
    f.export(m, three, ["token_embeddings", "pooler_output"], 14)
    f, m = kind("onnx-opset17", 13)
    f.expect()
    f.export(m, three, ["last_hidden_state", "pooler_output"], 17)
    f, m = kind("onnx-f16", 14)
    f.expect(tolerance=2e-3)
    f.export(m, both, ["last_hidden_state", "pooler_output"], 18, half=True, dynamo=True)
    f, m = kind("onnx-pooled", 15)
    f.expect()
    f.export(m, both, ["sentence_embedding"], 17, pooled=lambda hidden: torch.nn.functional.normalize(hidden.mean(1), dim=1))
    shutil.rmtree(f.path / "1_Pooling")

    f = Folder(root, "onnx-distilbert")
    m = distilbert(f.vocabulary, 16)
    f.model(m).modules().expect()
    f.export(m, both, ["last_hidden_state"], 17)

    for name, kind in (("onnx-roberta", "Roberta"), ("onnx-mpnet", "MPNet")):
        f = Folder(root, name, ROBERTA_SPECIAL)
        config = getattr(transformers, kind + "Config")(
            **SMALL, max_position_embeddings=18, vocab_size=len(f.vocabulary), pad_token_id=1, bos_token_id=0, eos_token_id=2)
        m = randomise(getattr(transformers, kind + "Model")(config), 17)
        f.model(m).modules(max_tokens=16).expect()
        f.export(m, both, ["last_hidden_state", "pooler_output"], 17)


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent / "models/testdata/checkpoints")
    shutil.rmtree(root, ignore_errors=True)
    torch.set_num_threads(1)
    safetensors_kinds(root)
    onnx_kinds(root)
    print(f"{sum(1 for _ in root.iterdir())} checkpoints, {sum(p.stat().st_size for p in root.rglob('*') if p.is_file()) >> 10} KiB, "
          f"torch {torch.__version__}, transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
