import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from hopfield_attn.data import glue_encoding
from hopfield_attn.data.batches import eval_batches
from hopfield_attn.data.framing import truncation
from hopfield_attn.data.glue import read_glue
from hopfield_attn.data.glue_encoding import encode_examples
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.tokenizer import CLS_ID, PAD_ID, SEP_ID, encode_texts

words = st.lists(st.sampled_from(["the", "class", "returns", "x"]), max_size=12).map(" ".join)
examples = st.builds(Example, words, st.none() | words, st.just(1))


def cut_one_by_one(num_first: int, num_second: int, budget: int) -> tuple[int, int]:
    while num_first + num_second > budget:
        if num_second >= num_first:
            num_second -= 1
        else:
            num_first -= 1
    return num_first, num_second


@given(st.integers(0, 40), st.integers(0, 40), st.integers(2, 50))
def test_longer_sentence_is_cut_first(num_first, num_second, budget):
    kept = truncation(num_first, num_second, budget=budget)
    assert kept == cut_one_by_one(num_first, num_second, budget)


@given(st.lists(examples, min_size=1, max_size=6), st.integers(5, 40))
def test_row_is_the_framed_sentences_cut_to_length(tokenizer, batch, length):
    source = encode_examples(tokenizer, batch, length=length)
    assert len(source) == len(batch)
    for i, example in enumerate(batch):
        (first,) = encode_texts(tokenizer, [example.sentence1])
        (second,) = encode_texts(tokenizer, [example.sentence2 or ""])
        if example.sentence2 is None:
            tokens, types = [CLS_ID, *first[: length - 2], SEP_ID], []
        else:
            kept = cut_one_by_one(len(first), len(second), length - 3)
            tokens = [CLS_ID, *first[: kept[0]], SEP_ID, *second[: kept[1]], SEP_ID]
            types = [1] * (kept[1] + 1)
        num_padding = length - len(tokens)
        row = source[i]
        assert row["tokens"].tolist() == tokens + [PAD_ID] * num_padding
        assert row["mask"].tolist() == [True] * len(tokens) + [False] * num_padding
        expected = [0] * (len(tokens) - len(types)) + types + [0] * num_padding
        assert row["token_types"].tolist() == expected


def test_empty_second_sentence_still_has_its_separator(tokenizer):
    row = encode_examples(tokenizer, [Example("", "", None)], length=6)[0]
    assert row["tokens"].tolist() == [CLS_ID, SEP_ID, SEP_ID, 0, 0, 0]


def test_dtypes_are_fixed_and_follow_the_kind_of_label(tokenizer):
    def dtypes(label):
        source = encode_examples(tokenizer, [Example("a", None, label)], length=4)
        return {name: array.dtype for name, array in source.arrays.items()}

    fixed = {"tokens": np.int32, "mask": np.bool_, "token_types": np.int32}
    assert dtypes(None) == fixed
    assert dtypes(0) == fixed | {"labels": np.int32}
    assert dtypes(0.0) == fixed | {"labels": np.float32}


def test_labels_stay_with_their_rows(tokenizer, monkeypatch):
    monkeypatch.setattr(glue_encoding, "_PART_SIZE", 4)
    batch = [Example(f"number {i}", None, i / 4) for i in range(9)]
    source = encode_examples(tokenizer, batch, length=12)
    assert source.arrays["labels"].tolist() == [i / 4 for i in range(9)]
    # Tokenised in parts or one by one: the same rows.
    for i, example in enumerate(batch):
        alone = encode_examples(tokenizer, [example], length=12)[0]
        assert source[i]["tokens"].tolist() == alone["tokens"].tolist()


def test_special_ids_are_those_of_the_tokenizer():
    vocab = {"[PAD]": 7, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, "word": 5}
    pretrained = Tokenizer(models.WordLevel(vocab=vocab, unk_token="[UNK]"))
    row = encode_examples(pretrained, [Example("word", "other", 1)], length=7)[0]
    assert row["tokens"].tolist() == [101, 5, 102, 100, 102, 7, 7]


@pytest.mark.parametrize(
    ("batch", "length", "reason"),
    [
        ([], 8, "at least one example, got none"),
        ([Example("a", None, 1)], 2, "at least 3 for single sentences, got 2"),
        ([Example("a", None, 1), Example("a", "b", 1)], 4, "at least 5 for pairs, got 4"),
        ([Example("a", None, 1), Example("b", None, None)], 8, "only 1 of 2 examples have a label"),
    ],
)
def test_what_cannot_be_encoded_is_an_error_with_its_numbers(tokenizer, batch, length, reason):
    with pytest.raises(ValueError, match=reason):
        encode_examples(tokenizer, batch, length=length)


def test_real_pairs_go_from_file_to_batches(glue_dir, tokenizer):
    pairs, _ = read_glue(glue_dir, "rte", "dev")
    source = encode_examples(tokenizer, pairs, length=64)
    batches = list(eval_batches(source, batch_size=50))
    assert [batch["example_weights"].sum() for batch in batches] == [50] * 5 + [27]
    labels = np.concatenate([batch["labels"] for batch in batches])[:277]
    assert labels.tolist() == [pair.label for pair in pairs]
    assert all(batch["tokens"].max() < 400 for batch in batches)
