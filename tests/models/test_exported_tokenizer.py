"""The tokenizer of an exported folder gives others the rows that the library feeds its models."""

import json

import numpy as np
import pytest
from flax import nnx

from hopfield_attn.data.framing import with_frame
from hopfield_attn.data.glue_encoding import encode_examples
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.tokenizer import encode_texts, load_tokenizer, train_tokenizer
from hopfield_attn.models import Encoder, save_pretrained
from tests.models.tiny_bert import TEXT

LENGTH = 40
EXAMPLES = [Example("The cat sat.", None, None), Example("the mat", " a rug, RESTING", None)]


@pytest.fixture(scope="module")
def trained():
    """A tokenizer trained from scratch, as a run has it: without a frame."""
    return train_tokenizer(TEXT, vocab_size=300)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    sizes = {"width": 8, "num_layers": 1, "num_heads": 2, "mlp_width": 8}
    encoder = Encoder(vocab_size=300, max_length=LENGTH, **sizes, rngs=nnx.Rngs(0))
    folder = tmp_path_factory.mktemp("bert")
    save_pretrained(encoder, folder, tokenizer=trained)
    return folder


def fed_rows(tokenizer):
    """Ids and token types of each example, as the library feeds them, without padding."""
    rows = encode_examples(tokenizer, EXAMPLES, length=LENGTH).arrays
    return [
        (ids[kept].tolist(), types[kept].tolist())
        for ids, types, kept in zip(rows["tokens"], rows["token_types"], rows["mask"], strict=True)
    ]


def texts_of(example):
    return [example.sentence1] + [example.sentence2] * (example.sentence2 is not None)


@pytest.mark.core
def test_tokenizers_gives_the_rows_of_the_library(trained, exported):
    found = load_tokenizer(exported / "tokenizer.json")
    encodings = [found.encode(*texts_of(example)) for example in EXAMPLES]
    assert [(e.ids, e.type_ids) for e in encodings] == fed_rows(trained)
    # What is read back frames nothing twice, and the tokenizer of the run is as it was.
    assert fed_rows(found) == fed_rows(trained)
    assert encode_texts(found, ["the cat"]) == encode_texts(trained, ["the cat"])
    assert trained.post_processor is None


@pytest.mark.core
def test_a_frame_that_is_there_stays(exported):
    found = load_tokenizer(exported / "tokenizer.json")
    assert with_frame(found).to_str() == found.to_str()


@pytest.mark.core
def test_names_of_inputs_and_the_longest_row_are_written(exported):
    settings = json.loads((exported / "tokenizer_config.json").read_text())
    assert settings["model_input_names"] == ["input_ids", "token_type_ids", "attention_mask"]
    assert settings["model_max_length"] == LENGTH


@pytest.mark.heavy
def test_transformers_gives_the_rows_of_the_library(trained, exported):
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed: scripts/test --all brings it"
    )
    found = transformers.AutoTokenizer.from_pretrained(exported)
    assert found.model_max_length == LENGTH
    rows = [found(*texts_of(example)) for example in EXAMPLES]
    fed = [(row["input_ids"], row["token_type_ids"]) for row in rows]
    assert fed == fed_rows(trained)
    assert all(np.all(row["attention_mask"]) for row in rows)
