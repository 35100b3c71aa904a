import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hopfield_attn.data.baselines import unigram_accuracy, unigram_cross_entropy
from hopfield_attn.data.tokenizer import NUM_SPECIAL

VOCAB_SIZE = 12

train_rows = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, VOCAB_SIZE - 1)
).filter(lambda rows: (rows >= NUM_SPECIAL).any())
labels = hnp.arrays(np.int32, st.integers(1, 20), elements=st.integers(5, VOCAB_SIZE - 1))


@given(train_rows, labels)
def test_accuracy_is_that_of_the_commonest_ordinary_token(rows, eval_labels):
    counts = Counter(token for token in rows.ravel().tolist() if token >= NUM_SPECIAL)
    answer = min(token for token in counts if counts[token] == max(counts.values()))
    expected = sum(label == answer for label in eval_labels.tolist()) / len(eval_labels)
    weights = np.ones(len(eval_labels), dtype=np.float32)
    assert unigram_accuracy(rows, eval_labels, weights) == pytest.approx(expected, rel=1e-12)


@given(train_rows)
def test_smoothed_frequencies_sum_to_one_over_the_ordinary_tokens(rows):
    probabilities = [
        math.exp(-unigram_cross_entropy(rows, np.array([label]), np.ones(1), vocab_size=VOCAB_SIZE))
        for label in range(NUM_SPECIAL, VOCAB_SIZE)
    ]
    assert sum(probabilities) == pytest.approx(1, rel=1e-12)


@given(train_rows, labels)
def test_cross_entropy_is_the_mean_of_the_formula(rows, eval_labels):
    flat = rows.ravel().tolist()
    total = sum(token >= NUM_SPECIAL for token in flat) + VOCAB_SIZE - NUM_SPECIAL
    losses = [-math.log((flat.count(label) + 1) / total) for label in eval_labels.tolist()]
    loss = unigram_cross_entropy(
        rows, eval_labels, np.ones(len(eval_labels)), vocab_size=VOCAB_SIZE
    )
    assert loss == pytest.approx(np.mean(losses), rel=1e-12)


def test_slots_without_weight_count_for_nothing():
    rows = np.array([[2, 6, 6, 7, 3]])
    padded = np.array([[6, 7, 0], [7, 0, 0]])
    weights = np.array([[1, 1, 0], [1, 0, 0]], dtype=np.float32)
    assert unigram_accuracy(rows, padded, weights) == pytest.approx(1 / 3)
    flat = unigram_cross_entropy(rows, np.array([6, 7, 7]), np.ones(3), vocab_size=10)
    assert unigram_cross_entropy(rows, padded, weights, vocab_size=10) == pytest.approx(flat)


def test_nothing_to_count_and_ids_out_of_range_are_errors():
    rows = np.array([[2, 6, 3]])
    one = np.ones(1)
    with pytest.raises(ValueError, match=r"ordinary tokens in rows of shape \(1, 2\)"):
        unigram_accuracy(np.array([[2, 3]]), np.array([6]), one)
    with pytest.raises(ValueError, match="positive sum, got 0.0"):
        unigram_accuracy(rows, np.array([6]), 0 * one)
    with pytest.raises(ValueError, match="below 6, got 6"):
        unigram_cross_entropy(rows, np.array([5]), one, vocab_size=6)
    for label in (4, 8):
        with pytest.raises(ValueError, match=f"labels must be ordinary ids below 8; got {label}"):
            unigram_cross_entropy(rows, np.array([label]), one, vocab_size=8)
