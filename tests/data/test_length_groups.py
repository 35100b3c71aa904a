import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopfield_attn.data.batches import iterate_batches
from hopfield_attn.data.length_groups import make_length_batches
from hopfield_attn.data.source import ArraySource

WIDTH = 20


def rows_of(lengths) -> ArraySource:
    lengths = np.asarray(lengths)
    tokens = np.arange(len(lengths))[:, None] * WIDTH + np.arange(WIDTH)
    return ArraySource(
        {
            "tokens": tokens,
            "mask": np.arange(WIDTH) < lengths[:, None],
            "row": np.arange(len(lengths)),
        }
    )


@settings(max_examples=25)
@given(st.lists(st.integers(1, WIDTH), min_size=1, max_size=60), st.data())
def test_batches_hold_whole_rows_once_an_epoch(lengths, data):
    batch_size = data.draw(st.integers(1, len(lengths)))
    multiple = data.draw(st.integers(1, WIDTH + 5))
    source = rows_of(lengths)
    batches = make_length_batches(source, batch_size=batch_size, seed=3, multiple=multiple)
    num_batches = len(lengths) // batch_size
    for epoch in range(2):
        seen = []
        for step in range(epoch * num_batches, (epoch + 1) * num_batches):
            batch = batches[step]
            length = batch["tokens"].shape[1]
            longest = max(lengths[row] for row in batch["row"])
            assert longest <= length <= min(WIDTH, longest + multiple - 1)
            assert length % multiple == 0 or length == WIDTH
            for name in ("tokens", "mask"):
                assert np.array_equal(batch[name], source.arrays[name][batch["row"], :length])
            seen += batch["row"].tolist()
        assert len(set(seen)) == len(seen) == num_batches * batch_size


def test_little_of_a_batch_is_padding():
    lengths = np.random.default_rng(0).integers(1, WIDTH + 1, 1000)
    batches = make_length_batches(rows_of(lengths), batch_size=10, seed=0, multiple=2)
    masks = [batches[step]["mask"] for step in range(100)]
    filled = sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks)
    assert filled > 0.85
    # The long batches are not all at one end of the epoch.
    longest = np.array([mask.shape[1] for mask in masks])
    assert abs(longest[:50].mean() - longest[50:].mean()) < 0.2 * longest.mean()


def test_batch_is_a_function_of_seed_and_step():
    source = rows_of(np.random.default_rng(0).integers(1, WIDTH + 1, 50))

    def order(seed, start=0, num_threads=0):
        batches = make_length_batches(source, batch_size=4, seed=seed, multiple=4)
        iterator = iterate_batches(batches, start_step=start, num_threads=num_threads)
        return [next(iterator)["row"].tolist() for _ in range(30)]

    first = order(7)
    assert order(7, num_threads=3) == first
    assert order(7, start=13)[:17] == first[13:]
    assert order(8) != first
    assert sorted(map(sorted, first[:12])) != sorted(map(sorted, first[12:24]))


def test_a_mask_with_holes_is_cut_after_its_last_token():
    mask = np.array([[True, False, False, True, False, False]])
    batches = make_length_batches(ArraySource({"mask": mask}), batch_size=1, seed=0, multiple=1)
    assert batches[0]["mask"].tolist() == [[True, False, False, True]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"multiple": 0}, "multiple must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"batch_size": 4}, "batch_size is 4, but the source has only 3 elements"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make_length_batches(
            rows_of([1, 2, 3]), **({"batch_size": 2, "seed": 0, "multiple": 1} | options)
        )
