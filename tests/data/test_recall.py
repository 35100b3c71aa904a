from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.recall import RecallTask
from hopfield_attn.data.synthetic import synthetic_examples
from hopfield_attn.data.tokenizer import CLS_ID, NUM_SPECIAL, SEP_ID
from tests.data.synthetic_oracles import accuracy_of, draw


def make_task(num_pairs, spare, num_values, num_queries):
    return RecallTask(
        num_pairs=num_pairs,
        num_keys=num_pairs + spare,
        num_values=num_values,
        num_queries=min(num_queries, num_pairs),
    )


tasks = st.builds(
    make_task, st.integers(1, 12), st.integers(0, 10), st.integers(2, 12), st.integers(1, 5)
)


def answer(task, tokens):
    """The value beside each queried key, read from the tokens alone."""
    body = list(tokens[1 : 2 * task.num_pairs + 1])
    pairs = dict(zip(body[::2], body[1::2], strict=True))
    return [pairs[q] - task.first_value_id for q in tokens[2 * task.num_pairs + 2 : -1]]


@given(tasks, st.integers(0, 2**40), st.integers(0, 99))
def test_labels_are_the_values_beside_the_queried_keys(task, seed, index):
    example = synthetic_examples(task, num_examples=100, seed=seed)[index]
    tokens = example["tokens"].tolist()
    start = 2 * task.num_pairs + 2
    keys, values, queries = tokens[1 : start - 1 : 2], tokens[2 : start - 1 : 2], tokens[start:-1]
    assert len(tokens) == task.length
    assert (tokens[0], tokens[start - 1], tokens[-1]) == (CLS_ID, SEP_ID, SEP_ID)
    assert len(set(keys)) == len(keys) == len(values) == task.num_pairs
    assert len(set(queries)) == task.num_queries
    assert all(NUM_SPECIAL <= key < task.first_value_id for key in keys)
    assert all(task.first_value_id <= value < task.vocab_size for value in values)
    assert example["labels"].tolist() == answer(task, tokens)
    assert example["positions"].tolist() == list(range(start, task.length - 1))
    assert example["token_types"].tolist() == [0] * start + [1] * (task.num_queries + 1)


def test_sources_are_the_pair_and_no_other_pair_matters():
    task = make_task(5, 10, 6, 3)
    rows = draw(task, 40)
    for tokens, labels, sources in zip(
        rows["tokens"], rows["labels"], rows["sources"], strict=True
    ):
        unused = sorted(set(range(NUM_SPECIAL, task.first_value_id)) - set(tokens.tolist()))
        for q, mask in enumerate(sources):
            key, value = np.flatnonzero(mask)
            assert (key + 1, tokens[key]) == (value, tokens[2 * task.num_pairs + 2 + q])
            changed = tokens.copy()
            changed[value] = task.first_value_id + (labels[q] + 1) % task.num_values
            assert answer(task, changed)[q] != labels[q]
            # The other values are all others, and keys that nobody asks for give way.
            for place in set(range(1, 2 * task.num_pairs + 1)) - {int(value)}:
                changed = tokens.copy()
                if place % 2 == 0:
                    old = changed[place] - task.first_value_id
                    changed[place] = task.first_value_id + (old + 1) % task.num_values
                elif tokens[place] not in tokens[2 * task.num_pairs + 2 :]:
                    changed[place] = unused[0]
                assert answer(task, changed)[q] == labels[q]


def test_keys_values_and_queries_are_uniform():
    task = make_task(3, 3, 4, 1)
    rows = draw(task, 2400)
    # Standard deviations of the counts: at most 24.
    labels = Counter(rows["labels"].ravel().tolist())
    places = Counter(np.argmax(rows["sources"][:, 0], axis=1).tolist())
    first_keys = Counter(rows["tokens"][:, 1].tolist())
    assert all(abs(labels[i] - 600) < 95 for i in range(4))
    assert all(abs(places[2 * i + 1] - 800) < 95 for i in range(3))
    assert all(abs(first_keys[NUM_SPECIAL + i] - 400) < 90 for i in range(6))


def test_keyless_accuracy_is_that_of_the_commonest_value():
    task = make_task(5, 0, 3, 2)

    def commonest(tokens, positions):
        values = tokens[2 : 2 * task.num_pairs + 1 : 2] - task.first_value_id
        return np.full(len(positions), np.argmax(np.bincount(values)))

    found, error = accuracy_of(commonest, draw(task, 1500))
    assert found == pytest.approx(task.baselines["keyless_accuracy"], abs=error)
    assert error < 0.04


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ((5, 4, 8, 1), "5 pairs need as many distinct keys, got num_keys=4"),
        ((0, 4, 8, 1), "num_pairs must be at least 1 .* got 0 and 8"),
        ((2, 4, 1, 1), "num_values at least 2, got 2 and 1"),
        ((2, 4, 3, 3), "num_queries must be from 1 to num_pairs=2, got 3"),
    ],
)
def test_impossible_task_is_an_error_with_its_numbers(sizes, reason):
    names = ("num_pairs", "num_keys", "num_values", "num_queries")
    with pytest.raises(ValueError, match=reason):
        RecallTask(**dict(zip(names, sizes, strict=True)))
