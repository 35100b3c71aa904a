"""The measurement of the overheads runs, and its table says what its file says."""

import dataclasses
import json
import runpy
from pathlib import Path

import jax.numpy as jnp
import optax
import pytest

from hopfield_attn.train.state import init_state

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "measure_overheads.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.mark.slow
def test_every_part_is_measured(script):
    rows = script["measure"](script["SMOKE"])["rows"]
    assert len({row["name"] for row in rows}) == 5
    for row in rows:
        assert 0 < row["lowest"] <= row["ratio"] <= row["highest"]
        assert row["with"] > 0 and row["without"] > 0


def test_a_save_without_checksums_writes_none_and_is_timed(script, tmp_path):
    state = init_state({"w": jnp.ones(3)}, optax.sgd(0.1))
    for step, with_checksums in ((1, True), (2, False)):
        folder = tmp_path / str(step)
        options = {"with_checksums": with_checksums}
        returned, written = script["seconds_of_save"](folder, state, step, **options)
        assert 0 < returned <= written
        records = json.loads((folder / str(step) / "checksums" / "metadata").read_bytes())
        assert bool(records["arrays"]) == with_checksums


def test_the_table_has_a_row_for_each_part_and_says_when_nothing_was_measured(
    script, tmp_path, monkeypatch
):
    monkeypatch.setitem(script["table"].__globals__, "RESULTS", tmp_path / "overheads.json")
    assert script["table"]() == script["NOT_MEASURED"]
    rows = [script["as_row"](name, "ms", [(3.0, 2.0)], scale=1) for name in ("one", "other")]
    sizes = dataclasses.asdict(script["SMOKE"])
    found = {"rows": rows, "sizes": sizes, "versions": {"devices": ["a chip"]}}
    (tmp_path / "overheads.json").write_text(json.dumps(found))
    lines = script["table"]().splitlines()
    assert lines[2:4] == [
        "| one | 3 ms | 2 | 1.500 (1.500 to 1.500) |",
        "| other | 3 ms | 2 | 1.500 (1.500 to 1.500) |",
    ]
    assert lines[-1].startswith("On a chip: 1 layers of width 16, 8 tokens, batch 2, 1 rounds of 2")


def test_pairs_are_made_in_turns_after_a_round_that_warms_up(script):
    calls = []

    def measured(name):
        def call():
            calls.append(name)
            return len(calls)

        return call

    pairs = script["in_turns"](measured("with"), measured("without"), rounds=3)
    assert calls == ["without", "with", "with", "without", "without", "with", "with", "without"]
    assert pairs == [(3, 4), (6, 5), (7, 8)]
    row = script["as_row"]("a part", "ms", [(2.0, 1.0), (9.0, 3.0), (8.0, 1.0)], scale=10)
    assert (row["with"], row["without"]) == (80.0, 10.0)
    assert (row["lowest"], row["ratio"], row["highest"]) == (2.0, 3.0, 8.0)
