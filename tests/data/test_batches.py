import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopfield_attn.data.batches import eval_batches, iterate_batches, make_batches, stack_elements
from hopfield_attn.data.source import ArraySource


def numbered(num_elements: int) -> ArraySource:
    return ArraySource({"index": np.arange(num_elements), "row": np.eye(num_elements)})


def add_noise(element, rng):
    return {**element, "noise": rng.integers(2**62, size=3)}


def indices(dataset, num_steps: int) -> list[int]:
    return np.concatenate([dataset[step]["index"] for step in range(num_steps)]).tolist()


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


@settings(max_examples=15)
@given(st.integers(1, 40), st.data())
def test_every_epoch_visits_every_element_once(num_elements, data):
    batch_size = data.draw(st.integers(1, num_elements))
    seed = data.draw(st.integers(0, 2**40))
    dataset = make_batches(numbered(num_elements), batch_size=batch_size, seed=seed)
    num_epochs = 3
    seen = indices(dataset, -(-num_epochs * num_elements // batch_size))
    for epoch in range(num_epochs):
        visited = seen[epoch * num_elements : (epoch + 1) * num_elements]
        assert sorted(visited) == list(range(num_elements))


def test_batch_is_a_function_of_seed_and_step():
    def make(seed):
        return make_batches(numbered(100), batch_size=8, seed=seed, transform=add_noise)

    first, again, other = make(7), make(7), make(8)
    for step in (0, 3, 12, 13, 10**9):
        assert same(first[step], again[step])
        assert not np.array_equal(first[step]["index"], other[step]["index"])
        assert not np.intersect1d(first[step]["noise"], other[step]["noise"]).size
    assert first[0]["row"].shape == (8, 100)
    assert np.array_equal(first[0]["row"].argmax(axis=1), first[0]["index"])


def test_reading_out_of_order_changes_nothing():
    dataset = make_batches(numbered(30), batch_size=4, seed=0, transform=add_noise)
    forward = [dataset[step] for step in range(20)]
    backward = [dataset[step] for step in reversed(range(20))]
    assert all(map(same, forward, reversed(backward)))


def test_epochs_have_orders_of_their_own_and_no_seed_repeats_another_later():
    datasets = [make_batches(np.arange(64), batch_size=64, seed=seed) for seed in range(4)]
    orders = {tuple(dataset[epoch].tolist()) for dataset in datasets for epoch in range(4)}
    assert len(orders) == 16


def test_transform_draws_anew_at_every_visit():
    dataset = make_batches(numbered(10), batch_size=10, seed=0, transform=add_noise)
    noise = np.concatenate([dataset[step]["noise"].ravel() for step in range(5)])
    assert len(np.unique(noise)) == 5 * 10 * 3


@pytest.mark.parametrize("num_threads", [0, 1, 5])
@pytest.mark.parametrize("start_step", [0, 6])
def test_iterator_continues_from_any_step_with_any_threads(num_threads, start_step):
    dataset = make_batches(numbered(20), batch_size=3, seed=1, transform=add_noise)
    iterator = iterate_batches(dataset, start_step=start_step, num_threads=num_threads)
    for step, batch in enumerate(itertools.islice(iterator, 25), start=start_step):
        assert same(batch, dataset[step])
    assert step == start_step + 24
    iterator.close()


def test_closing_the_iterator_ends_its_threads():
    before = set(threading.enumerate())
    dataset = make_batches(numbered(200), batch_size=3, seed=1)
    iterator = iterate_batches(dataset, start_step=0, num_threads=3)
    next(iterator)
    started = set(threading.enumerate()) - before
    assert len(started) == 3
    iterator.close()
    for thread in started:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in started)


def test_error_in_the_transform_reaches_the_reader():
    def fail(element, rng):
        raise RuntimeError(f"cannot read element {element['index']}")

    dataset = make_batches(numbered(4), batch_size=2, seed=0, transform=fail)
    iterator = iterate_batches(dataset, start_step=0, num_threads=2)
    with pytest.raises(RuntimeError, match="cannot read element"):
        next(iterator)


def test_array_rows_are_elements_and_batches_are_copies():
    rows = np.arange(12).reshape(6, 2)
    for batch_size in (1, 6):
        batch = make_batches(rows, batch_size=batch_size, seed=0)[0]
        assert batch.shape == (batch_size, 2)
        batch[:] = -1
    assert rows.min() == 0


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"batch_size": 5, "seed": 0}, ValueError, "batch_size is 5, but .* only 4 elements"),
        ({"batch_size": 0, "seed": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2, "seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"batch_size": 2, "seed": 0.5}, TypeError, "seed|float"),
    ],
)
def test_impossible_batches_are_errors_with_their_numbers(options, error, reason):
    with pytest.raises(error, match=reason):
        make_batches(numbered(4), **options)


def test_negative_start_is_an_error_before_the_first_batch():
    dataset = make_batches(numbered(4), batch_size=2, seed=0)
    with pytest.raises(ValueError, match="at least 0, got -1 and 2"):
        iterate_batches(dataset, start_step=-1, num_threads=2)


@given(st.integers(1, 30), st.integers(1, 12))
def test_evaluation_reads_all_in_order_and_weighs_padding_zero(num_elements, batch_size):
    batches = list(eval_batches(numbered(num_elements), batch_size=batch_size))
    index = np.concatenate([batch["index"] for batch in batches])
    weights = np.concatenate([batch["example_weights"] for batch in batches])
    assert all(batch["row"].shape == (batch_size, num_elements) for batch in batches)
    assert weights.dtype == np.float32
    assert index[weights == 1].tolist() == list(range(num_elements))
    assert (weights[num_elements:] == 0).all()
    assert len(batches) == -(-num_elements // batch_size)
    assert (
        batches[-1]["index"][batches[-1]["example_weights"] == 0] == batches[-1]["index"][0]
    ).all()


@pytest.mark.parametrize(
    ("elements", "error", "reason"),
    [
        ([], ValueError, "at least one element"),
        ([np.zeros(2)], TypeError, "must be dicts of arrays, got ndarray"),
        ([{"example_weights": np.array(1)}], ValueError, "must not have the key"),
    ],
    ids=["none", "array", "key"],
)
def test_evaluation_rejects_what_it_cannot_weigh(elements, error, reason):
    with pytest.raises(error, match=reason):
        eval_batches(elements, batch_size=2)


def test_stacking_names_the_key_that_differs():
    with pytest.raises(ValueError, match=r"'x' must have one shape .* \[\(2,\), \(3,\)\]"):
        stack_elements([{"x": np.zeros(2)}, {"x": np.zeros(3)}])
    with pytest.raises(ValueError, match=r"same keys, got \['x'\] and \['y'\]"):
        stack_elements([{"x": np.zeros(2)}, {"y": np.zeros(2)}])
