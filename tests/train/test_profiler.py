"""A trace has the steps that were asked for and no others."""

import gzip
import io
import json

import jax
import jax.numpy as jnp
import pytest
from rich.console import Console

from hopfield_attn.train import loop
from hopfield_attn.train.profiler import traced_steps
from hopfield_attn.train.run_folder import open_run_folder
from hopfield_attn.train.tasks import make_task
from tests.train.blueprints import with_loss
from tests.train.test_loop import linear_loss
from tests.train.test_resume import Killed, at_batch, kill


def traced_in(folder):
    """Numbers of the steps in the traces of a run folder."""
    steps = []
    for path in sorted(folder.glob("profile/plugins/profile/*/*.trace.json.gz")):
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
        steps += [int(e["args"]["step_num"]) for e in events if e.get("name") == "train"]
    return steps


@pytest.fixture
def run(tmp_path):
    """(wanted, first step, last step) → numbers that were advanced, and what was said."""

    def run(wanted, first, last):
        said = []
        add = jax.jit(lambda state, batch: (state + batch, {"loss": state}))
        options = {"first_step": first, "say": said.append}
        with traced_steps(add, tmp_path, wanted, **options) as advance:
            state = jnp.zeros(())
            for _ in range(first, last + 1):
                state, _ = advance(state, 1.0)
        assert float(state) == last - first + 1
        return said

    return run


@pytest.mark.usefixtures("no_typechecker")
class TestTracedSteps:
    def test_steps_of_the_range_are_traced_and_no_others(self, run, tmp_path):
        said = run(range(3, 6), 1, 8)
        assert traced_in(tmp_path) == [3, 4, 5]
        assert said == [f"trace of steps 3 to 5 in {tmp_path / 'profile'}"]

    def test_run_that_goes_on_within_the_range_traces_the_rest(self, run, tmp_path):
        run(range(3, 6), 5, 8)
        assert traced_in(tmp_path) == [5]

    def test_run_that_goes_on_behind_the_range_writes_nothing(self, run, tmp_path):
        assert run(range(3, 6), 6, 8) == ["steps 3 to 5 were made before: nothing is traced"]
        assert list(tmp_path.iterdir()) == []

    def test_without_a_range_nothing_is_written_or_said(self, run, tmp_path):
        assert run(range(0), 1, 3) == []
        assert list(tmp_path.iterdir()) == []

    def test_run_that_ends_within_the_range_leaves_its_trace(self, run, tmp_path):
        run(range(2, 9), 1, 3)
        assert traced_in(tmp_path) == [2, 3]
        # And the profiler can be started again.
        with jax.profiler.trace(tmp_path / "another"):
            pass


def test_run_writes_its_trace_once(make_config, tmp_path, monkeypatch):
    config = make_config({"model.heads": "identity", "train.num_steps": 6})
    console = Console(file=io.StringIO(), width=200)

    def train():
        open_run_folder(tmp_path, config)
        task = with_loss(make_task(config, tmp_path), linear_loss)
        options = {"title": "a run", "console": console, "traced": range(2, 4)}
        return loop.train(config, tmp_path, task, **options)

    at_batch(monkeypatch, 6, kill)
    with pytest.raises(Killed):
        train()
    assert traced_in(tmp_path) == [2, 3]
    train()  # goes on from step 4
    assert traced_in(tmp_path) == [2, 3]
    assert "steps 2 to 3 were made before: nothing is traced" in console.file.getvalue()
    train()
    assert "the run is finished: nothing is traced" in console.file.getvalue()
