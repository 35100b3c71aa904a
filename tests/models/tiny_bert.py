"""A tiny BERT folder for the tests, with random weights."""

import json

import numpy as np
import safetensors.numpy

from hopfield_attn.data.tokenizer import save_tokenizer, train_tokenizer

CONFIG = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": 300,
    "max_position_embeddings": 24,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
TEXT = ["the cat sat on the mat", "a feline was resting on the rug", "stock markets fell"] * 9


def shapes(config=CONFIG, *, prefix=""):
    """Name → shape of the tensors of a BertModel with a pooler."""
    width, hidden = config["hidden_size"], config["intermediate_size"]
    found = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
        "pooler.dense.weight": (width, width),
        "pooler.dense.bias": (width,),
    }
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}."
        for name, size in (
            ("attention.self.query", (width, width)),
            ("attention.self.key", (width, width)),
            ("attention.self.value", (width, width)),
            ("attention.output.dense", (width, width)),
            ("intermediate.dense", (hidden, width)),
            ("output.dense", (width, hidden)),
        ):
            found |= {f"{layer}{name}.weight": size, f"{layer}{name}.bias": size[:1]}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            found |= {f"{layer}{name}.weight": (width,), f"{layer}{name}.bias": (width,)}
    return {prefix + name: size for name, size in found.items()}


def random_tensors(sizes, *, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    return {name: (0.3 * rng.normal(size=size)).astype(dtype) for name, size in sizes.items()}


def write_folder(path, *, config=CONFIG, tensors=None):
    """Writes the folder with plain json and safetensors, not with the code under test."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = random_tensors(shapes(config)) if tensors is None else tensors
    safetensors.numpy.save_file(tensors, path / "model.safetensors")
    tokenizer = train_tokenizer(TEXT, vocab_size=config["vocab_size"])
    save_tokenizer(tokenizer, path / "tokenizer.json")
    return path
