"""Energies while training: measured when due, beside the step, and nothing bad hides in a mean."""

import math
import signal
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from hopfield_attn.analysis.layer_energies import LayerEnergies
from hopfield_attn.train import energies, loop, program
from hopfield_attn.train.config_checks import check_train_config
from hopfield_attn.train.energies import (
    energies_are_due,
    energy_batch,
    energy_metrics,
    has_energies,
    non_finite_lines,
)
from hopfield_attn.train.interrupt import Interrupted
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.run_folder import open_run_folder
from hopfield_attn.train.sharding import make_mesh
from hopfield_attn.train.tasks import make_task
from tests.train.blueprints import with_loss
from tests.train.test_loop import linear_loss
from tests.train.test_resume import Killed, at_batch, kill

EVERYTHING = np.array([True] * 4)


def layer(**changes):
    """Two heads on four sequences."""
    columns = {
        "drop": [[1.0, 3.0], [5.0, 7.0], [9.0, 11.0], [13.0, 15.0]],
        "distance": [[0.1, 0.2]] * 4,
        "is_converged": [[True, False]] * 4,
        "is_finite": [[True, True]] * 4,
        "alpha": [0.5, -0.25],
        "spline": np.zeros((0, 1)),
    }
    return LayerEnergies(**{name: np.array(a) for name, a in (columns | changes).items()})


@pytest.mark.core
@pytest.mark.usefixtures("no_typechecker")
class TestMetrics:
    def test_figures_are_means_by_layer_counted_from_one(self):
        found = energy_metrics({0: layer(), 4: layer(spline=[[-1.0, 3.0]])}, EVERYTHING)
        assert found == {
            "layer_1/non_finite": 0,
            "layer_1/unconverged": 0.5,
            "layer_1/energy_drop": 8.0,
            "layer_1/attention_distance": pytest.approx(0.15),
            "layer_1/abs_alpha": 0.375,
            "layer_5/non_finite": 0,
            "layer_5/unconverged": 0.5,
            "layer_5/energy_drop": 8.0,
            "layer_5/attention_distance": pytest.approx(0.15),
            "layer_5/abs_alpha": 0.375,
            "layer_5/abs_spline": 2.0,
        }
        assert list(non_finite_lines(found)) == []

    def test_what_is_not_finite_is_counted_and_said_and_in_no_mean(self):
        is_finite = [[True, True], [False, True], [True, True], [True, False]]
        drop = [[1.0, 3.0], [math.nan, 7.0], [9.0, 11.0], [13.0, -math.inf]]
        converged = [[True, True]] * 4
        bad = layer(drop=drop, is_finite=is_finite, is_converged=converged)
        found = energy_metrics({2: bad}, EVERYTHING)
        assert found["layer_3/non_finite"] == 2
        assert found["layer_3/energy_drop"] == np.mean([1, 3, 7, 9, 11, 13])
        assert found["layer_3/unconverged"] == 0.25
        (line,) = non_finite_lines(found)
        assert line.startswith("layer 3 has 2 (sequence, head) pairs")

    def test_a_mean_over_nothing_is_left_out(self):
        nothing = layer(is_finite=[[False, False]] * 4, alpha=np.zeros(0))
        assert energy_metrics({0: nothing}, EVERYTHING) == {
            "layer_1/non_finite": 8,
            "layer_1/unconverged": 1.0,
        }

    def test_filling_is_left_out(self):
        bad = layer(is_finite=[[True, True], [True, True], [False, True], [True, True]])
        found = energy_metrics({0: bad}, np.array([True, True, False, False]))
        assert found["layer_1/non_finite"] == 0
        assert found["layer_1/energy_drop"] == 4.0


@pytest.mark.core
@pytest.mark.parametrize(
    ("energy_every", "eval_every", "expected"),
    [
        (0, 0, [12]),
        (0, 5, [5, 10, 12]),
        (4, 5, [4, 8, 12]),
        (5, 0, [5, 10]),
        (-1, 5, []),
    ],
)
def test_energies_are_due_with_the_evaluations_or_at_an_interval(
    energy_every, eval_every, expected
):
    settings = SimpleNamespace(energy_every=energy_every, eval_every=eval_every, num_steps=12)
    assert [step for step in range(1, 13) if energies_are_due(settings, step)] == expected


@pytest.mark.core
def test_interval_that_cannot_be_is_refused(make_config):
    with pytest.raises(ValueError, match=r"train.energy_every must be >= -1; got -2"):
        check_train_config(make_config({"train.energy_every": -2}))
    with pytest.raises(ValueError, match=r"train.peak_flops must be >= 0; got -1.0"):
        check_train_config(make_config({"train.peak_flops": -1.0}))


@pytest.mark.core
def test_only_a_layer_with_non_linear_heads_has_energies():
    model = {"num_layers": 2, "num_heads": 2, "head_layers": ""}
    assert has_energies(model | {"heads": "identity:1,square:1"})
    assert has_energies(model | {"heads": "square", "head_layers": "2"})
    assert not has_energies(model | {"heads": "identity"})


def examples(num, shape):
    """Sequences of which the last one of each example is filling, with a mask as the others."""
    columns = {"mask": np.ones(shape, bool)}
    if len(shape) > 1:
        columns["windows"] = np.arange(shape[0]) < shape[0] - 1
    return [{"tokens": np.full(shape, k), "labels": np.int32(k), **columns} for k in range(num)]


@pytest.mark.core
def test_batch_is_the_first_examples_and_filling_is_told():
    mesh = make_mesh()
    rows, is_real = energy_batch(examples(9, (8,)), batch_size=4, num_heads=2, mesh=mesh)
    assert rows.keys() == {"tokens", "mask"}
    np.testing.assert_array_equal(rows["tokens"][:, 0], np.arange(4))
    assert is_real.tolist() == [True] * 4
    # Fewer examples than the batch has, each with two sequences and one that is filling.
    rows, is_real = energy_batch(examples(3, (3, 8)), batch_size=4, num_heads=2, mesh=mesh)
    assert rows["tokens"].shape == (12, 8)
    assert rows["tokens"][:, 0].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [0] * 3
    assert is_real.tolist() == [True, True, False] * 3 + [False] * 3


@pytest.mark.core
def test_batch_is_cut_to_what_fits(monkeypatch):
    mesh = make_mesh()
    # A sequence has 2 heads × 8² weights = 128; an example has three, of which one is filling.
    for limit, expected in ((4 * 128, 4), (6 * 128 - 1, 5), (10, 1), (10**6, 12)):
        monkeypatch.setattr(energies, "MAX_CELLS", limit)
        rows, is_real = energy_batch(examples(9, (3, 8)), batch_size=4, num_heads=2, mesh=mesh)
        assert len(rows["tokens"]) == len(is_real) == expected
        assert is_real.tolist() == ([True, True, False] * 4)[:expected]


def figures_of(row):
    return {name: value for name, value in row.items() if "/" in name}


@pytest.fixture(scope="module")
def measured(make_config, train, tmp_path_factory):
    """(changes) → rows of a run that has energies."""

    def measured(changes, folder=None, **options):
        folder = folder or tmp_path_factory.mktemp("run")
        train(make_config(changes), folder, **options)
        return read_metrics(folder)

    return measured


def test_rows_have_the_figures_when_they_are_due_and_the_losses_are_those_without(measured):
    rows = measured({"train.log_every": 4, "train.energy_every": 6})
    assert [row["step"] for row in rows] == [4, 6, 8, 12]
    names = ("non_finite", "unconverged", "energy_drop", "attention_distance", "abs_alpha")
    for row in (rows[1], rows[3]):
        assert figures_of(row).keys() == {f"layer_1/{name}" for name in names}
        assert row["layer_1/non_finite"] == 0
        assert row["layer_1/energy_drop"] > 0
        # The only non-linear head starts at α = 0.1 and moves by less than the learning rate.
        assert row["layer_1/abs_alpha"] == pytest.approx(0.1, abs=0.02)
    assert figures_of(rows[0]) == figures_of(rows[2]) == {}
    without = measured({"train.energy_every": -1})
    by_step = {row["step"]: row["loss_hex"] for row in without}
    assert [row["loss_hex"] for row in rows] == [by_step[step] for step in (4, 6, 8, 12)]
    assert not any(map(figures_of, without))


def test_run_that_was_killed_has_the_rows_of_the_one_that_was_not(measured, tmp_path, monkeypatch):
    changes = {"train.energy_every": 4, "train.checkpoint_every": 4}
    expected = measured(changes)
    at_batch(monkeypatch, 5, kill)
    with pytest.raises(Killed):
        measured(changes, tmp_path)
    found = measured(changes, tmp_path)
    assert [figures_of(row) for row in found] == [figures_of(row) for row in expected]
    assert sum(map(bool, map(figures_of, found))) == 3


def test_run_that_is_stopped_where_energies_are_due_has_their_row(measured, tmp_path, monkeypatch):
    changes = {"train.energy_every": 4, "train.log_every": 3}
    expected = measured(changes)
    at_batch(monkeypatch, 8, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Interrupted):
        measured(changes, tmp_path)
    assert [row["step"] for row in read_metrics(tmp_path)] == [3, 4, 6, 8]
    found = measured(changes, tmp_path)
    assert [figures_of(row) for row in found] == [figures_of(row) for row in expected]


def test_run_that_is_killed_while_energies_are_measured_has_saved_their_step(
    measured, tmp_path, monkeypatch
):
    changes = {"train.energy_every": 4, "train.checkpoint_every": 4}
    expected = measured(changes)
    with monkeypatch.context() as patch:
        patch.setattr(program, "energy_metrics", lambda found, is_real: kill())
        with pytest.raises(Killed):
            measured(changes, tmp_path)
    assert read_metrics(tmp_path)[-1]["step"] == 4
    assert (tmp_path / "checkpoints" / "4").is_dir()
    found = measured(changes, tmp_path)
    assert [figures_of(row) for row in found] == [figures_of(row) for row in expected]


def test_run_goes_on_without_the_memory_for_energies(make_config, tmp_path, quiet, monkeypatch):
    def fail(found, is_real):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory\nallocations: …")

    monkeypatch.setattr(program, "energy_metrics", fail)
    config = make_config({"train.num_steps": 4, "train.energy_every": 2})
    open_run_folder(tmp_path, config)
    trained = loop.train(config, tmp_path, make_task(config, tmp_path), title="a", console=quiet)
    assert trained.step == 4
    assert not any(map(figures_of, read_metrics(tmp_path)))
    line = "step 2: energies could not be measured (RESOURCE_EXHAUSTED: out of memory)"
    assert line in quiet.file.getvalue()


def test_energies_that_are_not_finite_are_said(make_config, tmp_path, quiet):
    """The loss does not see the heads, so that training goes on."""
    config = make_config({"model.alpha_init": 1e30, "train.num_steps": 2})
    open_run_folder(tmp_path, config)
    task = with_loss(make_task(config, tmp_path), linear_loss)
    loop.train(config, tmp_path, task, title="a run", console=quiet)
    *_, last = read_metrics(tmp_path)
    assert last["layer_1/non_finite"] == 16
    assert last["layer_1/unconverged"] == 1.0
    assert "layer_1/energy_drop" not in last
    assert "step 2: layer 1 has 16 (sequence, head) pairs" in quiet.file.getvalue()
