import pytest

from hopfield_attn.nn import HeadGroup, parse_heads

pytestmark = pytest.mark.core


def test_groups_follow_the_order_of_the_heads_and_neighbours_merge():
    assert parse_heads("identity:8, quadratic:4", num_heads=12) == (
        HeadGroup("identity", 0, 8),
        HeadGroup("quadratic", 8, 12),
    )
    assert parse_heads("exp:1,exp:2,square:1", num_heads=4) == (
        HeadGroup("exp", 0, 3),
        HeadGroup("square", 3, 4),
    )


def test_one_family_takes_all_heads():
    assert parse_heads("log_cosh", num_heads=3) == (HeadGroup("log_cosh", 0, 3),)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("quadratc:2,identity:2", "did you mean 'quadratic'"),
        ("identity:3", "names 3 heads; the layer has num_heads=4"),
        ("identity:2,quadratic", "got the part 'quadratic'"),
        ("identity:-4", "got the part 'identity:-4'"),
        ("identity:0,quadratic:4", "got the part 'identity:0'"),
        ("", "must be one of 'identity'"),
    ],
)
def test_a_wrong_specification_is_named(spec, message):
    with pytest.raises(ValueError, match=message):
        parse_heads(spec, num_heads=4)
