import numpy as np
import pytest

from hopfield_attn.data.source import ArraySource, RandomAccess


def make_source() -> ArraySource:
    return ArraySource({"x": np.arange(12).reshape(4, 3), "y": np.arange(4.0)})


def test_example_is_one_row_of_every_column():
    source = make_source()
    assert len(source) == 4
    for i, example in enumerate(source):
        assert set(example) == {"x", "y"}
        assert example["x"].tolist() == [3 * i, 3 * i + 1, 3 * i + 2]
        assert isinstance(example["y"], np.ndarray)
        assert example["y"].shape == ()
        assert float(example["y"]) == i
    assert i == 3


def test_lists_arrays_and_sources_are_random_access():
    assert all(isinstance(source, RandomAccess) for source in (make_source(), [], np.arange(3)))
    assert not isinstance(iter([]), RandomAccess)


def test_examples_are_read_only_but_the_given_array_is_not():
    x = np.zeros((2, 3))
    example = ArraySource({"x": x})[0]
    with pytest.raises(ValueError, match="read-only"):
        example["x"][0] = 1
    x[0, 0] = 1


@pytest.mark.parametrize(
    "arrays",
    [{}, {"x": np.zeros(3), "y": np.zeros(4)}, {"x": np.array(1.0)}],
    ids=["none", "lengths", "scalar"],
)
def test_columns_must_have_one_length(arrays):
    with pytest.raises(ValueError, match="one common first axis, got"):
        ArraySource(arrays)


def test_index_out_of_range_is_an_index_error():
    with pytest.raises(IndexError):
        make_source()[4]
