"""A profile is measured cell by cell, goes on where it stopped, and outlives what fails."""

import itertools
import json
import runpy
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from hopfield_attn.benchmark.candidates import (
    Program,
    default_implementations,
    heads_first,
    make_program,
)
from hopfield_attn.benchmark.cells import Cell
from hopfield_attn.benchmark.measure import measure
from hopfield_attn.benchmark.profile import profile
from hopfield_attn.benchmark.resident import resident_bytes

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"width": 8, "dtype": "float32", "batch_heads": 2, "num_threads": 1}
CELLS = [
    Cell(16, "jax.nn", "forward"),
    Cell(16, "fast", "forward", 2, "quadratic", "pooled"),
    Cell(16, "only pooled", "forward", 2, "quadratic", "pairwise"),
    Cell(16, "broken", "forward", 2, "quadratic", "pooled"),
]


class Stand:
    """Makes programs that do nothing, and knows which."""

    def __init__(self):
        self.made = []

    def __call__(self, cell, **settings):
        self.made.append(cell.implementation)
        if cell.implementation == "only pooled":
            raise ValueError("only pooled")
        if cell.implementation == "broken":
            raise RuntimeError("out of\n memory")
        return Program(lambda: None, 1000)


def run(path, stand, cells=CELLS, **options):
    defaults = {"settings": SETTINGS, "machine": {"threads": 1}, "command": "./scripts/profile"}
    options = defaults | {"rounds": 2, "make_program": stand} | options
    return list(profile(cells, path, **options))


def test_what_fails_is_recorded_and_what_follows_is_measured(tmp_path):
    path = tmp_path / "profile.json"
    rows = [row for _, row, _ in run(path, Stand(), [CELLS[3], *CELLS[:3]])]
    assert [r["status"] for r in rows] == ["failed", "measured", "measured", "not applicable"]
    assert rows[0]["reason"] == "RuntimeError: out of memory"
    assert rows[2]["temp_bytes"] == 1000 and rows[2]["rounds"] >= 2
    assert json.loads(path.read_text())["cells"] == rows


def test_a_plain_attention_that_refuses_is_a_failure():
    # ValueError means "not applicable" for an implementation of ours only.
    def refuse(cell, **settings):
        if cell.implementation == "flax.nnx":
            raise ValueError("no")
        return Program(lambda: None, None)

    cells = [Cell(16, "flax.nnx", "forward")]
    path = Path("unused")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hopfield_attn.benchmark.profile.write_json", lambda *_: None)
        assert run(path, refuse, cells)[0][1]["status"] == "failed"


def test_the_same_call_goes_on_and_tries_again_what_failed(tmp_path):
    path = tmp_path / "profile.json"
    run(path, Stand(), CELLS[:2])
    stand = Stand()
    assert [is_new for *_, is_new in run(path, stand)] == [False, False, True, True]
    assert "fast" not in stand.made
    stand = Stand()
    assert [is_new for *_, is_new in run(path, stand)] == [False, False, False, True]
    assert [is_new for *_, is_new in run(path, Stand(), fresh=True)] == [True] * 4


def test_every_command_that_measured_is_kept(tmp_path):
    path = tmp_path / "profile.json"
    for command, cells in (("a", CELLS[:1]), ("b", CELLS[:2]), ("a", CELLS[:3])):
        run(path, Stand(), cells, command=command)
    assert json.loads(path.read_text())["commands"] == ["a", "b"]


def test_a_stopped_profile_has_every_cell_that_was_done(tmp_path):
    path = tmp_path / "profile.json"
    arguments = {"command": "", "rounds": 2, "settings": SETTINGS, "machine": {}}
    list(itertools.islice(profile(CELLS, path, make_program=Stand(), **arguments), 2))
    assert len(json.loads(path.read_text())["cells"]) == 2


def test_figures_of_another_machine_are_not_mixed_in(tmp_path):
    path = tmp_path / "profile.json"
    run(path, Stand())
    with pytest.raises(ValueError, match="threads 1, and this is 4"):
        run(path, Stand(), machine={"threads": 4})
    with pytest.raises(ValueError, match="width 8, and this is 16"):
        run(path, Stand(), settings=SETTINGS | {"width": 16})


def test_a_drift_of_the_machine_leaves_the_ratio_alone():
    now = 0.0

    def taking(seconds):
        def run():
            nonlocal now
            now += seconds * (1 + 0.5 * now)  # ever slower

        return Program(run, None)

    found = measure(taking(0.03), taking(0.01), rounds=8, seconds=0, clock=lambda: now)
    assert found["ratio"] == pytest.approx(3, rel=0.03)
    assert found["rounds"] == 8
    assert found["iqr"][0] <= found["median_ms"] <= found["iqr"][1]


def test_a_slow_candidate_gets_three_rounds():
    ticks = itertools.count(step=100)
    program = Program(lambda: None, None)
    found = measure(program, program, rounds=50, seconds_at_most=1, clock=lambda: next(ticks))
    assert found["rounds"] == 3


def test_the_einsum_baseline_is_attention():
    q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 5, 3, 4))
    expected = jax.nn.dot_product_attention(q, k, v)
    np.testing.assert_allclose(heads_first(q, k, v), expected, atol=1e-6)


@pytest.mark.parametrize("direction", ["forward", "forward_backward"])
def test_programs_of_ours_compute_outputs_or_all_four_gradients(direction):
    cell = Cell(16, "autodiff", direction, 2, "quadratic", "pooled")
    found = make_program(cell, **SETTINGS).run()
    if direction == "forward":
        assert found.shape == (2, 16, 1, 8)
    else:
        assert [a.shape for a in found] == [(2, 16, 1, 8)] * 3 + [(1,)]
        assert all(float(abs(a).max()) > 0 for a in found)


def test_kernels_are_not_measured_by_default_where_they_are_interpreted(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert "kernels" not in default_implementations()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert {"kernels", "autodiff", "auto"} <= set(default_implementations())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_resident_memory_sees_the_weights_of_plain_attention():
    settings = SETTINGS | {"batch_heads": 4}
    grown = resident_bytes(Cell(1024, "jax.nn", "forward"), settings)
    if grown is None:
        pytest.skip("this system does not let the peak be set back")
    assert 16 * 2**20 < grown < 256 * 2**20  # weights: 4 · 1024² · 4 bytes


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match="'nonsense'"):
        resident_bytes(Cell(16, "nonsense", "forward", 1, "quadratic", "pooled"), SETTINGS)


@pytest.fixture
def script(monkeypatch):
    # torch is not part of what is tested here, and its import is slow.
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return runpy.run_path(str(ROOT / "scripts" / "profile_attention.py"))


@pytest.mark.slow
def test_a_tiny_profile_is_measured_written_and_drawn(script, tmp_path):
    arguments = ["--smoke", "--implementations", "autodiff,auto", "--steps=2", "--output"]
    arguments += [str(tmp_path / "out"), "--couplings=pooled", "--lengths=16,32", "--rounds=2"]
    assert script["main"](["profile", *arguments]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"profile.json", "profile.md", "ratio_over_length.png"} <= names
    found = json.loads((tmp_path / "out" / "profile.json").read_text())
    assert len(found["cells"]) == 2 * 2 * (3 + 2)
    assert all(row["status"] == "measured" for row in found["cells"])
    assert str(tmp_path) not in json.dumps(found)
    assert "autodiff" in (tmp_path / "out" / "profile.md").read_text()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--implementations=autodif", "did you mean 'autodiff'"),
        ("--couplings=poled", "did you mean 'pooled'"),
        ("--nonlinearities=cubical", "did you mean 'cubic'"),
    ],
)
def test_an_unknown_name_is_refused_before_anything_is_written(
    script, option, message, tmp_path, capsys
):
    assert script["main"](["profile", "--smoke", option, f"--output={tmp_path / 'out'}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_recorded_command_names_no_folder(script):
    given = ["--steps", "1,2", "--output", "/somewhere", "--fresh", "--width=8", "--output=/there"]
    assert script["command_of"](given) == "./scripts/profile --steps 1,2 --width=8"
