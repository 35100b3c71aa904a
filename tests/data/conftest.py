"""Fixtures of the data tests: the real files, where a machine has them, and a small tokenizer."""

import os
import string
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from hopfield_attn.data.corpus import load_documents
from hopfield_attn.data.tokenizer import train_tokenizer

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of HOPFIELD_ATTN_DATA, else ../shared/data beside the repository."""
    folder = os.environ.get("HOPFIELD_ATTN_DATA") or REPOSITORY.parent / "shared" / "data"
    path = Path(folder).expanduser()
    if not path.is_dir():
        pytest.skip(f"real data not found in {path}; set HOPFIELD_ATTN_DATA to its folder")
    return path


@pytest.fixture(scope="session")
def glue_dir(real_data: Path) -> Path:
    """The folder with CoLA, RTE, SST-2 and STS-B."""
    return real_data / "glue"


@pytest.fixture(scope="session")
def embedded() -> list[str]:
    """The documents of the embedded corpus (read once: it takes seconds)."""
    return load_documents("embedded")


@pytest.fixture(scope="session")
def tokenizer(embedded: list[str]) -> Tokenizer:
    """A tokenizer with 400 ids."""
    return train_tokenizer(embedded[:20], vocab_size=400)


@pytest.fixture(scope="session")
def wordpiece() -> Tokenizer:
    """A tokenizer as of a pretrained BERT: WordPiece, special tokens anywhere, rows cut and padded.

    It has the letters, alone and within words, and a few whole words.
    """
    pieces = [mark + letter for mark in ("", "##") for letter in string.ascii_lowercase]
    pieces += [*"0123456789.,?!'", "cat", "the", "##ing", "read", "[CLS]", "[SEP]", "[MASK]"]
    pieces = ["[unused]", "[PAD]", *pieces, "[UNK]"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    bert = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    bert.normalizer = normalizers.BertNormalizer(lowercase=True)
    bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    bert.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    bert.enable_truncation(4)
    bert.enable_padding(length=4, pad_id=1)
    return bert


@pytest.fixture(params=["byte_level", "wordpiece"])
def any_tokenizer(request, tokenizer: Tokenizer, wordpiece: Tokenizer) -> Tokenizer:
    """The small byte-level tokenizer, then the WordPiece one."""
    return {"byte_level": tokenizer, "wordpiece": wordpiece}[request.param]
