"""Exponents, tables and pictures of a profile with known figures."""

import pytest

from hopfield_attn.benchmark.cells import Cell, batch_and_heads, make_grid
from hopfield_attn.benchmark.plots import PICTURES, draw_profile, pictures_of
from hopfield_attn.benchmark.summary import choices, exponents, fit_exponent, markdown, table


def make_row(cell, ratio, *, temp_bytes=None):
    b, heads = batch_and_heads(cell.n)
    milliseconds = ratio * b * heads * cell.n**2 * 1e-6
    return cell._asdict() | {
        "status": "measured",
        "batch": b,
        "heads": heads,
        "median_ms": milliseconds,
        "ratio": ratio,
        "ratio_iqr": [0.95 * ratio, 1.05 * ratio],
        "temp_bytes": temp_bytes,
    }


def make_rows():
    """Time n²(T+1) for "primal", twice as much for "dual", which the choice takes; memory n."""
    rows = []
    for n in (256, 512, 1024, 2048):
        b, heads = batch_and_heads(n)
        for direction in ("forward", "forward_backward"):
            rows.append(make_row(Cell(n, "jax.nn", direction), 1.0, temp_bytes=b * heads * n**2))
            for T in (1, 3, 7):
                for name, factor in (("primal", 1), ("dual", 2.2), ("auto", 2)):
                    cell = Cell(n, name, direction, T, "quadratic", "pooled")
                    row = make_row(cell, factor * (T + 1), temp_bytes=b * heads * n)
                    rows.append(row | ({"chosen": "dual"} if name == "auto" else {}))
    return rows


@pytest.mark.parametrize("power", [-1.0, 0.5, 2.0])
def test_the_exponent_of_a_power_is_found(power):
    x = [512, 1024, 2048]
    assert fit_exponent(x, [3 * value**power for value in x]) == pytest.approx(power)


def test_one_point_has_no_exponent():
    assert fit_exponent([512], [1.0]) is None
    assert fit_exponent([], []) is None


def test_exponents_are_per_head_although_the_number_of_heads_changes_with_n():
    found = exponents(make_rows())
    ours = found["quadratic", "pooled", "primal", "forward"]
    assert ours["time in n"] == pytest.approx(2)
    assert ours["memory in n"] == pytest.approx(1)
    assert ours["time in T"] == pytest.approx(fit_exponent([1, 3, 7], [2, 4, 8]))
    plain = found[None, None, "jax.nn", "forward"]
    assert plain["memory in n"] == pytest.approx(2)
    assert plain["time in T"] is None


def test_a_slow_choice_is_found_and_flagged():
    found = choices(make_rows())
    assert len(found) == 4 * 2 * 3
    for row in found:
        assert (row["chosen"], row["best"]) == ("dual", "primal")
        assert row["slower"] == pytest.approx(2)
        assert row["again"] == pytest.approx(1.1)
    text = markdown(make_rows())
    assert "above 1.1 in 24:" in text
    fast = [row for row in make_rows() if row["implementation"] != "auto"]
    assert "The choice" not in markdown(fast)


def test_a_table_has_a_line_a_series_and_a_dash_where_nothing_was_measured():
    rows = [row for row in make_rows() if row["T"] in (None, 3)]
    rows = [r for r in rows if (r["n"], r["implementation"]) != (256, "jax.nn")]
    lines = table(rows, "n", lambda row: f"{row['ratio']:.1f}").splitlines()
    assert lines[0].endswith("| n = 256 | n = 512 | n = 1024 | n = 2048 |")
    assert len({line.count("|") for line in lines}) == 1
    assert [line for line in lines if "jax.nn" in line][0].split(" | ")[3] == "– / –"
    assert "4.0 / 4.0" in [line for line in lines if "primal" in line][0]


def test_what_was_left_out_is_listed_with_its_reason():
    rows = make_rows()
    cell = Cell(512, "dual", "forward", 3, "quadratic", "pairwise")
    rows.append(cell._asdict() | {"status": "not applicable", "reason": "only pooled"})
    assert "* `dual` quadratic pairwise: not applicable in 1 cells. only pooled" in markdown(rows)
    assert markdown(rows[-1:]) == "No cell was measured."


def test_pictures_are_drawn_with_and_without_memory(tmp_path):
    rows = make_rows()
    draw_profile(tmp_path, rows, title="a machine", prefix="x_")
    assert {path.name for path in tmp_path.iterdir()} == {f"x_{name}.png" for name in PICTURES}
    without = [row | {"temp_bytes": None} for row in rows]
    assert pictures_of(without) == ["ratio_over_length", "ratio_over_steps"]
    assert pictures_of([row for row in rows if row["F"] is None]) == []


def test_the_grid_varies_one_thing_at_a_time_unless_all_is_asked_for():
    options = {
        "lengths": [32, 16],
        "steps": [1, 3],
        "nonlinearities": ["quadratic", "spline"],
        "couplings": ["pooled", "pairwise"],
        "implementations": ["auto"],
        "baselines": ["jax.nn"],
    }
    grid = make_grid(**options)
    # Of each length and direction: plain attention, two T, another coupling, another F.
    assert len(grid) == 2 * 2 * (1 + 2 + 1 + 1) == len(set(grid))
    assert {cell.T for cell in grid if cell.F == "spline"} == {3}
    assert not [cell for cell in grid if cell.F == "spline" and cell.coupling == "pairwise"]
    assert [cell.n for cell in grid] == sorted(cell.n for cell in grid)
    assert len(make_grid(**options, full=True)) == 2 * 2 * (1 + 2 * 2 * 2)
