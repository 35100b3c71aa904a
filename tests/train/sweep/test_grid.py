import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.train.sweep.grid import Axis, make_grid, parse_axis, run_name

pytestmark = pytest.mark.core


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("seed=0,1,2", "seed", ("0", "1", "2")),
        ("seed=7", "seed", ("7",)),
        ("model.lam=1, 0.5", "model.lam", ("1", "0.5")),
        (
            "model.heads=identity:4|identity:2,cubic:2",
            "model.heads",
            ("identity:4", "identity:2,cubic:2"),
        ),
        # One value with a comma; the same without the bar would be two.
        ("model.heads=identity:2,cubic:2|", "model.heads", ("identity:2,cubic:2",)),
        ("model.heads=identity:2,cubic:2", "model.heads", ("identity:2", "cubic:2")),
        ("baseline_heads=|identity", "baseline_heads", ("", "identity")),
        ("data.source=a=b", "data.source", ("a=b",)),
    ],
)
def test_values_are_separated_by_commas_or_by_bars(text, key, values):
    assert parse_axis(text) == Axis(key, values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed", "unexpected argument 'seed'; what varies looks like seed=0,1,2"),
        ("=1", "unexpected argument '=1'"),
        ("seed=", "a value is empty"),
        ("seed=0,,1", "a value is empty; empty text is written seed='|other'"),
        ("seed=0,1,0", "seed=0,1,0: the value '0' is there twice"),
    ],
)
def test_what_is_no_axis_is_refused(text, message):
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        parse_axis(text)


def test_grid_is_the_product_seed_by_seed_with_the_first_setting_first():
    axes = [parse_axis(text) for text in ("a=1,2", "seed=5,6", "b=x|y,z")]
    assert [tuple(point.items()) for point in make_grid(axes)] == [
        (("a", a), ("seed", seed), ("b", b)) for seed in "56" for a in "12" for b in ("x", "y,z")
    ]


def test_key_that_varies_twice_is_refused():
    with pytest.raises(ValueError, match="a varies twice"):
        make_grid([Axis("a", ("1",)), Axis("a", ("2",))])


def test_name_is_readable_and_depends_on_the_values_alone():
    values = {"seed": 3, "model.heads": "identity:2,quadratic:2", "model.alpha_init": -0.5}
    name = "model.alpha_init=-0.5,model.heads=identity-2+quadratic-2,seed=3"
    assert run_name(values) == name
    assert run_name(dict(reversed(values.items()))) == name
    assert run_name({"model.gain": None}) == "model.gain=None"


@given(st.dictionaries(st.sampled_from(["a", "model.b", "seed"]), st.text(), min_size=1))
def test_name_is_one_folder_whatever_the_values_are(values):
    name = run_name(values)
    assert name.isascii()
    assert not set(name) & set("/\\ :;'\"$*?|<>\n\0")
    assert 0 < len(name.encode()) < 140


def test_values_that_are_spelled_alike_have_different_names():
    assert len({run_name({"data.dir": text}) for text in ("a/b", "a b", "a_b", "a\\b")}) == 4
    long = "x" * 200
    assert run_name({"data.dir": long + "1"}) != run_name({"data.dir": long + "2"})
