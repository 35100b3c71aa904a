import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.batches import make_batches
from hopfield_attn.data.recall import RecallTask, recall_examples
from hopfield_attn.data.tokenizer import CLS_ID, NUM_SPECIAL, SEP_ID

tasks = st.builds(
    lambda num_pairs, spare, num_values: RecallTask(
        num_pairs=num_pairs, num_keys=num_pairs + spare, num_values=num_values
    ),
    st.integers(1, 12),
    st.integers(0, 10),
    st.integers(2, 12),
)


@given(tasks, st.integers(0, 2**40), st.integers(0, 99))
def test_label_is_the_value_beside_the_queried_key(task, seed, index):
    example = recall_examples(task, num_examples=100, seed=seed)[index]
    tokens = example["tokens"].tolist()
    keys, values = tokens[1:-3:2], tokens[2:-3:2]
    asked = keys.index(tokens[-2])
    assert len(tokens) == task.length == 2 * task.num_pairs + 4
    assert (tokens[0], tokens[-3], tokens[-1]) == (CLS_ID, SEP_ID, SEP_ID)
    assert len(set(keys)) == len(keys) == len(values) == task.num_pairs
    assert all(NUM_SPECIAL <= key < task.first_value_id for key in keys)
    assert all(task.first_value_id <= value < task.vocab_size for value in values)
    assert example["labels"] == values[asked] - task.first_value_id
    assert tokens[int(example["source"])] == values[asked]
    assert tokens[int(example["source"]) - 1] == tokens[-2]
    assert example["mask"].all()
    assert example["token_types"].tolist() == [0] * (task.length - 2) + [1, 1]


def test_example_depends_on_seed_and_index_only():
    task = RecallTask(num_pairs=4, num_keys=20, num_values=20)
    few, many = (recall_examples(task, num_examples=n, seed=3) for n in (5, 500))
    for i in (4, 0, 2):
        assert all(np.array_equal(few[i][name], many[i][name]) for name in few[i])
    other = recall_examples(task, num_examples=500, seed=4)
    rows = {tuple(s[i]["tokens"].tolist()) for s in (many, other) for i in range(500)}
    assert len(rows) == 1000
    assert [len(few), few[-1]["tokens"].tolist()] == [5, few[4]["tokens"].tolist()]
    with pytest.raises(IndexError, match="below 5, got 5"):
        few[5]


def test_keys_values_and_queries_are_uniform():
    task = RecallTask(num_pairs=3, num_keys=6, num_values=4)
    source = recall_examples(task, num_examples=6000, seed=0)
    rows = [source[i] for i in range(len(source))]
    # Standard deviations of the counts: at most 55.
    labels = Counter(int(row["labels"]) for row in rows)
    places = Counter(int(row["source"]) for row in rows)
    first_keys = Counter(int(row["tokens"][1]) for row in rows)
    assert all(abs(labels[i] - 1500) < 170 for i in range(4))
    assert all(abs(places[2 * i + 2] - 2000) < 190 for i in range(3))
    assert all(abs(first_keys[NUM_SPECIAL + i] - 1000) < 150 for i in range(6))


@pytest.mark.parametrize(("num_pairs", "num_values"), [(1, 2), (2, 3), (3, 2), (5, 3), (4, 6)])
def test_keyless_accuracy_is_that_of_the_commonest_value(num_pairs, num_values):
    task = RecallTask(num_pairs=num_pairs, num_keys=9, num_values=num_values)
    draws = itertools.product(range(num_values), repeat=num_pairs)
    shares = [max(Counter(draw).values()) / num_pairs for draw in draws]
    assert task.keyless_accuracy == pytest.approx(np.mean(shares), rel=1e-10)


def test_baselines_of_a_long_sequence_are_ordered():
    task = RecallTask(num_pairs=200, num_keys=300, num_values=500)
    assert task.chance_accuracy == 1 / 500
    # At least one value is drawn, hardly ever more than six times.
    assert 2 / 200 < task.keyless_accuracy < 6 / 200


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ((5, 4, 8), "5 pairs need as many distinct keys, got num_keys=4"),
        ((0, 4, 8), "num_pairs must be at least 1 .* got 0 and 8"),
        ((2, 4, 1), "num_values at least 2, got 2 and 1"),
    ],
)
def test_impossible_task_is_an_error_with_its_numbers(sizes, reason):
    num_pairs, num_keys, num_values = sizes
    with pytest.raises(ValueError, match=reason):
        RecallTask(num_pairs=num_pairs, num_keys=num_keys, num_values=num_values)


@pytest.mark.parametrize(("num_examples", "seed"), [(0, 0), (5, -1)])
def test_impossible_source_is_an_error_with_its_numbers(num_examples, seed):
    task = RecallTask(num_pairs=1, num_keys=2, num_values=2)
    with pytest.raises(ValueError, match=f"got {num_examples} and {seed}"):
        recall_examples(task, num_examples=num_examples, seed=seed)


def test_examples_batch():
    task = RecallTask(num_pairs=2, num_keys=5, num_values=3)
    batch = make_batches(recall_examples(task, num_examples=9, seed=0), batch_size=4, seed=0)[2]
    assert {name: (array.shape, array.dtype) for name, array in batch.items()} == {
        "tokens": ((4, 8), np.int32),
        "mask": ((4, 8), np.bool_),
        "token_types": ((4, 8), np.int32),
        "labels": ((4,), np.int32),
        "source": ((4,), np.int32),
    }
