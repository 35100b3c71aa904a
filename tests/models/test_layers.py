"""Layers by name."""

import pytest

from hopfield_attn.models.layers import heads_by_layer, parse_layers

pytestmark = pytest.mark.core


@pytest.mark.parametrize(
    "spec,expected",
    [("", (0, 1, 2, 3)), ("2", (1,)), ("1-4", (0, 1, 2, 3)), ("4, 1-2,2", (0, 1, 3))],
)
def test_layers_are_counted_from_one(spec, expected):
    assert parse_layers(spec, num_layers=4) == expected


@pytest.mark.parametrize("spec", ["0", "5", "3-2", "a", "1,,2", "1-", "-1", "²"])
def test_what_is_no_layer_is_refused(spec):
    with pytest.raises(ValueError, match="layers from 1 to 4"):
        parse_layers(spec, num_layers=4)


def test_other_layers_are_linear():
    assert heads_by_layer("cubic", "1,3", num_layers=3) == ("cubic", "identity", "cubic")
