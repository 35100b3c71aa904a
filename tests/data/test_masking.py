import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.masking import (
    line_tokens,
    mask_rows,
    mask_tokens,
    num_masked,
    pack_tokens,
)
from hopfield_attn.data.tokenizer import CLS_ID, MASK_ID, NUM_SPECIAL, PAD_ID, SEP_ID

VOCAB_SIZE = 60

token_ids = st.integers(NUM_SPECIAL, VOCAB_SIZE - 1)
documents = st.lists(st.lists(token_ids, max_size=30), min_size=1, max_size=8)
rates = st.floats(0.01, 1.0)


def row_of(ordinary: list[int], *, num_padding: int = 0) -> np.ndarray:
    return np.array([CLS_ID, *ordinary, SEP_ID] + [PAD_ID] * num_padding, dtype=np.int32)


rows = st.builds(
    lambda ids, num_padding: row_of(ids, num_padding=num_padding),
    st.lists(token_ids | st.just(SEP_ID), min_size=1, max_size=40),
    st.integers(0, 10),
)


@given(documents, st.integers(3, 20))
def test_rows_hold_every_token_in_order_and_are_framed(texts, length):
    filled = [text for text in texts if text]
    arrays = [np.array(text, dtype=np.int32) for text in texts]
    if not filled:
        with pytest.raises(ValueError, match="empty documents"):
            pack_tokens(arrays, length=length)
        return
    packed = pack_tokens(arrays, length=length)
    stream = filled[0] + [token for text in filled[1:] for token in [SEP_ID, *text]]
    assert packed.dtype == np.int32
    assert packed.shape == (-(-len(stream) // (length - 2)), length)
    last = packed[-1][packed[-1] != PAD_ID]
    body = np.concatenate([packed[:-1, 1:-1].ravel(), last[1:-1]])
    assert body.tolist() == stream
    assert (packed[:, 0] == CLS_ID).all()
    assert (packed[:-1, -1] == SEP_ID).all()
    assert last[-1] == SEP_ID
    assert (packed[-1][len(last) :] == PAD_ID).all()


@pytest.mark.parametrize(
    ("ids", "length", "reason"),
    [
        ([7], 2, "length must be at least 3 .* got 2"),
        ([7, MASK_ID], 8, "got id 4"),
        ([-1, 7], 8, "got id -1"),
    ],
)
def test_packing_rejects_short_rows_and_special_ids(ids, length, reason):
    with pytest.raises(ValueError, match=reason):
        pack_tokens([np.array(ids)], length=length)


@given(rows, rates, st.integers(0, 2**32 - 1))
def test_masking_hides_the_right_number_and_touches_nothing_else(row, mask_rate, seed):
    before = row.copy()
    masked = mask_tokens(
        row, np.random.default_rng(seed), mask_rate=mask_rate, vocab_size=VOCAB_SIZE
    )
    num_ordinary = int((before >= NUM_SPECIAL).sum())
    expected = max(1, round(mask_rate * num_ordinary)) if num_ordinary else 0
    used = masked["label_weights"] == 1
    positions = masked["positions"][used]

    assert (row == before).all()
    assert used.sum() == masked["label_weights"].sum() == expected
    assert used[:expected].all()
    assert (np.diff(positions) > 0).all()
    assert (before[positions] >= NUM_SPECIAL).all()
    assert (masked["labels"][used] == before[positions]).all()
    assert (masked["mask"] == (before != PAD_ID)).all()
    unchosen = np.setdiff1d(np.arange(len(row)), positions)
    assert (masked["tokens"][unchosen] == before[unchosen]).all()
    new = masked["tokens"][positions]
    assert ((new == MASK_ID) | ((new >= NUM_SPECIAL) & (new < VOCAB_SIZE))).all()


@given(rows, rates)
def test_shapes_and_dtypes_depend_on_length_and_rate_only(row, mask_rate):
    masked = mask_tokens(row, np.random.default_rng(0), mask_rate=mask_rate, vocab_size=VOCAB_SIZE)
    slots = (num_masked(len(row), mask_rate=mask_rate),)
    assert {name: (array.shape, array.dtype) for name, array in masked.items()} == {
        "tokens": (row.shape, np.int32),
        "mask": (row.shape, np.bool_),
        "positions": (slots, np.int32),
        "labels": (slots, np.int32),
        "label_weights": (slots, np.float32),
    }


@given(st.lists(token_ids, min_size=1, max_size=30), st.integers(1, 20), rates)
def test_padding_changes_no_choice(ids, num_padding, mask_rate):
    short, long = (
        mask_tokens(
            row_of(ids, num_padding=n),
            np.random.default_rng(5),
            mask_rate=mask_rate,
            vocab_size=VOCAB_SIZE,
        )
        for n in (0, num_padding)
    )
    num_chosen = int(short["label_weights"].sum())
    assert (long["positions"][:num_chosen] == short["positions"][:num_chosen]).all()
    assert (long["tokens"][: len(ids) + 2] == short["tokens"]).all()
    assert long["label_weights"].sum() == num_chosen


def test_eighty_percent_become_mask_ten_random_ten_stay():
    vocab_size = 1005
    row = row_of(np.random.default_rng(0).integers(5, vocab_size, size=40_000).tolist())
    masked = mask_tokens(row, np.random.default_rng(1), mask_rate=0.5, vocab_size=vocab_size)
    new, old = masked["tokens"][masked["positions"]], masked["labels"]
    num_drawn = len(new)
    assert num_drawn == 20_000
    # Standard deviation of each share: at most 0.0029.
    assert abs(np.mean(new == MASK_ID) - 0.8) < 0.012
    assert abs(np.mean(new == old) - 0.1001) < 0.009
    random_ids = new[(new != MASK_ID) & (new != old)]
    assert abs(len(random_ids) / num_drawn - 0.0999) < 0.009
    # Random ids cover the ordinary vocabulary evenly: mean 504.5, deviation 289 / sqrt(2000).
    assert abs(random_ids.mean() - 504.5) < 26
    assert random_ids.min() < 15
    assert random_ids.max() >= vocab_size - 10


def test_every_ordinary_position_is_chosen_equally_often():
    row = row_of(list(range(10, 30)))
    counts = np.zeros(len(row))
    for seed in range(2000):
        masked = mask_tokens(row, np.random.default_rng(seed), mask_rate=0.1, vocab_size=60)
        counts[masked["positions"]] += 1
    assert counts[[0, -1]].sum() == 0
    # Two of 20 positions a draw: mean 200, deviation 13.4.
    assert np.abs(counts[1:-1] - 200).max() < 60


def test_row_without_ordinary_token_has_no_weight():
    row = np.array([CLS_ID, SEP_ID, SEP_ID, PAD_ID, PAD_ID])
    masked = mask_tokens(row, np.random.default_rng(0), mask_rate=0.5, vocab_size=10)
    assert masked["label_weights"].tolist() == [0.0, 0.0]
    assert masked["tokens"].tolist() == row.tolist()


BAD_ARGUMENTS = {
    "rate 0": ([2, 7, 3], 0.0, 10, r"mask_rate must be in \(0, 1\], got 0.0"),
    "rate above 1": ([2, 7, 3], 1.5, 10, "got 1.5"),
    "short row": ([2, 3], 0.5, 10, "length must be at least 3 .* got 2"),
    "no ordinary id": ([2, 7, 3], 0.5, 5, "vocab_size must exceed the 5 special tokens, got 5"),
    "id too large": ([2, 7, 10, 3], 0.5, 10, r"must be in \[0, 10\), got 2 to 10"),
    "id negative": ([2, -7, 3], 0.5, 10, "got -7 to 3"),
    "no frame": ([7, 8, 9], 0.5, 10, r"a row of 3 tokens must have \[CLS\] and \[SEP\]"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_row_or_argument_is_an_error_with_its_numbers(case):
    row, mask_rate, vocab_size, reason = BAD_ARGUMENTS[case]
    with pytest.raises(ValueError, match=reason):
        mask_tokens(
            np.array(row), np.random.default_rng(0), mask_rate=mask_rate, vocab_size=vocab_size
        )


def test_evaluation_masks_depend_on_seed_and_row_only():
    packed = pack_tokens([np.arange(5, 55).repeat(10)], length=22)
    options = {"mask_rate": 0.2, "vocab_size": VOCAB_SIZE}
    source = mask_rows(packed, seed=3, **options)
    assert len(source) == len(packed) == 25
    for i in (0, 7, 24):
        single = mask_tokens(packed[i], np.random.default_rng((3, i)), **options)
        for name, value in source[i].items():
            assert (value == single[name]).all()
    shorter = mask_rows(packed[:5], seed=3, **options)
    assert (shorter.arrays["positions"] == source.arrays["positions"][:5]).all()
    other = mask_rows(packed, seed=4, **options)
    assert (other.arrays["positions"] != source.arrays["positions"]).any()
    assert len({tuple(row) for row in source.arrays["positions"].tolist()}) > 20


def test_evaluation_without_rows_is_an_error():
    with pytest.raises(ValueError, match="at least one row"):
        mask_rows(np.zeros((0, 8), dtype=np.int32), seed=0, mask_rate=0.15, vocab_size=10)


BERT_IDS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
"""As in the vocabulary of the published BERT."""


@given(seed=st.integers(0, 2**32 - 1))
def test_other_special_ids_are_the_same_rows_and_masks_under_other_names(seed):
    rng = np.random.default_rng(seed)
    documents = [rng.integers(NUM_SPECIAL, 300, size=n) for n in rng.integers(0, 40, size=6)]
    documents.append(np.array([7]))
    ordinary = np.setdiff1d(np.arange(300), list(BERT_IDS.values()))
    renamed = np.concatenate([list(BERT_IDS.values()), ordinary])
    ours = pack_tokens(documents, length=16)
    theirs = pack_tokens([renamed[d] for d in documents], length=16, special=BERT_IDS)
    np.testing.assert_array_equal(renamed[ours], theirs)
    options = {"mask_rate": 0.3, "vocab_size": 300}
    for row, other in zip(ours, theirs, strict=True):
        first = mask_tokens(row, np.random.default_rng(seed), **options)
        second = mask_tokens(other, np.random.default_rng(seed), **options, special=BERT_IDS)
        np.testing.assert_array_equal(renamed[first["tokens"]], second["tokens"])
        for name in ("mask", "positions", "label_weights"):
            np.testing.assert_array_equal(first[name], second[name])


@given(seed=st.integers(0, 2**32 - 1), mask_rate=st.sampled_from([0.15, 0.4, 1.0]))
def test_whole_words_are_masked_or_left(seed, mask_rate):
    rng = np.random.default_rng(seed)
    starts = rng.random(60) < 0.5
    row = pack_tokens([rng.integers(NUM_SPECIAL, 60, size=18)], length=20)[0]
    options = {"mask_rate": mask_rate, "vocab_size": 60}
    masked = mask_tokens(row, rng, **options, starts=starts)
    chosen = masked["positions"][masked["label_weights"] > 0]
    assert 1 <= len(chosen) <= num_masked(20, mask_rate=mask_rate)
    words = np.split(np.arange(1, 19), np.flatnonzero(starts[row[2:19]]) + 1)
    parts = [np.isin(word, chosen) for word in words]
    if not all(part.all() or not part.any() for part in parts):
        # Only where no word was short enough.
        assert min(map(len, words)) > num_masked(20, mask_rate=mask_rate)
    if mask_rate == 1.0:
        np.testing.assert_array_equal(chosen, np.arange(1, 19))


def test_whole_words_are_chosen_about_evenly():
    starts = np.ones(60, dtype=bool)
    starts[50:] = False
    row = pack_tokens([np.array([10, 50, 51, 20, 30, 52, 40, 41, 42, 43])], length=12)[0]
    counts = np.zeros(12)
    for seed in range(2000):
        masked = mask_tokens(
            row, np.random.default_rng(seed), mask_rate=0.3, vocab_size=60, starts=starts
        )
        counts[masked["positions"][masked["label_weights"] > 0]] += 1
    assert (counts[1], counts[5]) == (counts[3], counts[6])
    # Seven words; three tokens at most. The word of three fits only when it comes first.
    np.testing.assert_allclose(counts[1] / 2000, 1 / 7, atol=0.03)
    assert counts[1:11].min() > 0


def test_lines_are_rows_of_their_own():
    lines = [np.arange(10, 13), np.array([], dtype=int), np.arange(20, 27)]
    rows = line_tokens(lines, length=6, special=BERT_IDS)
    expected = [
        [101, 10, 11, 12, 102, 0],
        [101, 20, 21, 22, 23, 102],
        [101, 24, 25, 26, 102, 0],
    ]
    np.testing.assert_array_equal(rows, expected)
    with pytest.raises(ValueError, match="ordinary tokens, got id 102"):
        line_tokens([np.array([102])], length=6, special=BERT_IDS)
    # What a vocabulary has no piece for may stand in a text.
    assert line_tokens([np.array([100])], length=6, special=BERT_IDS)[0, 1] == 100
