import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from hopfield_attn.data import tokenizer as module
from hopfield_attn.data.tokenizer import (
    NUM_SPECIAL,
    SPECIAL_TOKENS,
    encode_documents,
    encode_texts,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
    word_starts,
)

REPOSITORY = Path(module.__file__).resolve().parents[2]

TRAIN_AND_PRINT = """
from hopfield_attn.data.embedded import reference_documents
from hopfield_attn.data.tokenizer import train_tokenizer
print(train_tokenizer(reference_documents()[:40], vocab_size=2000).to_str())
"""


def train_in_new_process(*, hash_seed: int, num_threads: int) -> str:
    environment = os.environ | {
        "PYTHONHASHSEED": str(hash_seed),
        "RAYON_NUM_THREADS": str(num_threads),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONIOENCODING": "utf-8",
    }
    command = [sys.executable, "-c", TRAIN_AND_PRINT]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    return done.stdout.decode()


def test_training_is_bitwise_the_same_in_any_process():
    first = train_in_new_process(hash_seed=0, num_threads=1)
    assert '"vocab"' in first
    assert train_in_new_process(hash_seed=1, num_threads=4) == first


def test_training_prints_nothing_and_fills_the_vocabulary(embedded, capfd):
    tokenizer = train_tokenizer(embedded[:20], vocab_size=500)
    assert capfd.readouterr() == ("", "")
    assert tokenizer.get_vocab_size() == 500
    assert sorted(tokenizer.get_vocab().values()) == list(range(500))


def test_special_tokens_have_the_first_ids(tokenizer):
    named = [module.PAD_ID, module.UNK_ID, module.CLS_ID, module.SEP_ID, module.MASK_ID]
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == named == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("vocab_size", "reason"),
    [(260, "at least 261 .* got 260"), (5000, r"vocab_size is 5000, but .* for 26\d ids only")],
)
def test_vocabulary_that_cannot_be_filled_is_an_error(vocab_size, reason):
    with pytest.raises(ValueError, match=reason):
        train_tokenizer(["few words few words"], vocab_size=vocab_size)


@given(text=st.text())
def test_any_text_comes_back_in_normal_form_without_special_ids(tokenizer, text):
    (ids,) = encode_texts(tokenizer, [text])
    normal = tokenizer.normalizer.normalize_str(text)
    assert min(ids, default=NUM_SPECIAL) >= NUM_SPECIAL
    assert tokenizer.decode(ids).removeprefix(" ") == normal.removeprefix(" ")


def test_case_and_unicode_form_do_not_matter(tokenizer):
    composed, decomposed = "Caf\u00e9", "cafe\u0301"
    ids = encode_texts(tokenizer, [composed, decomposed, "CAFÉ"])
    assert ids[0] == ids[1] == ids[2]


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_text_that_spells_a_special_token_is_ordinary(tokenizer, token):
    (ids,) = encode_documents(tokenizer, [f"a {token} b"])
    assert ids.dtype == "int32"
    assert ids.min() >= NUM_SPECIAL
    assert tokenizer.decode(ids.tolist()) == f" a {token.lower()} b"


def test_truncation_and_padding_of_a_loaded_tokenizer_are_ignored(tokenizer):
    pretrained = Tokenizer.from_str(tokenizer.to_str())
    pretrained.enable_truncation(2)
    pretrained.enable_padding(length=50)
    before = pretrained.to_str()
    texts = ["a text of several words", "b"]
    assert encode_texts(pretrained, texts) == encode_texts(tokenizer, texts)
    assert pretrained.to_str() == before


def test_saved_tokenizer_loads_as_the_same_and_leaves_no_other_file(tokenizer, tmp_path):
    path = tmp_path / "run" / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    assert load_tokenizer(path).to_str() == tokenizer.to_str()
    assert [entry.name for entry in path.parent.iterdir()] == ["tokenizer.json"]


def test_failed_save_leaves_the_older_file(tokenizer, tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    path.write_text("older")

    def full_disk(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_tokenizer(tokenizer, path)
    assert path.read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 1


def with_ids(*ids: int) -> str:
    vocabulary = dict(zip((*SPECIAL_TOKENS, "a"), ids, strict=True))
    return Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]")).to_str()


def without_specials() -> str:
    return Tokenizer(models.BPE(vocab={"[PAD]": 0, "[CLS]": 1}, merges=[])).to_str()


BAD_FILES = {
    "empty": ("", "not a tokenizer.json"),
    "cut": ('{"version": "1.0", "trunc', "not a tokenizer.json"),
    "other": ('{"layers": 6}', "not a tokenizer.json"),
    "gap": (with_ids(0, 1, 2, 3, 4, 6), "6 tokens must have the ids 0 to 5, each once"),
    "bare": (without_specials(), r"lacks the special tokens \['\[UNK\]', '\[SEP\]', '\[MASK\]'\]"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_tokenizer_file_is_one_error_that_names_it(tmp_path, name):
    text, reason = BAD_FILES[name]
    path = tmp_path / f"{name}.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{name}.json: .*{reason}"):
        load_tokenizer(path)


def test_missing_tokenizer_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.json: no such tokenizer file"):
        load_tokenizer(tmp_path / "absent.json")


def test_words_of_a_wordpiece_vocabulary_start_without_the_sign():
    pieces = [*SPECIAL_TOKENS, "the", "##s", "cat"]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    assert word_starts(tokenizer).tolist() == [True] * 6 + [False, True]
