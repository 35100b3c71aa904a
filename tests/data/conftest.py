"""Fixtures of the data tests: the real files, where a machine has them, and a small tokenizer."""

import os
from pathlib import Path

import pytest
from tokenizers import Tokenizer

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
