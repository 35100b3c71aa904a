import json

import jax.numpy as jnp
import pytest

from hopfield_attn.train import loop, program
from hopfield_attn.train.history import EvaluationHistory
from hopfield_attn.train.interrupt import Interrupted
from hopfield_attn.train.run_folder import open_run_folder
from hopfield_attn.train.tasks import make_task
from tests.train.blueprints import with_loss

SETTINGS = {"model.heads": "identity", "train.num_steps": 6, "train.eval_every": 2}


def read(folder):
    return [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]


@pytest.fixture
def run(make_config, quiet):
    """(folder, scores by call or an error) → result of a run that learns nothing."""

    def run(folder, monkeypatch, scores):
        config = make_config(SETTINGS)
        open_run_folder(folder, config)
        task = with_loss(
            make_task(config, folder),
            lambda model, batch, rngs: jnp.sum(jnp.square(model.out.bias[...])),
        )
        values = iter(scores)

        def evaluate(*args, **kwargs):
            value = next(values)
            if isinstance(value, Exception):
                raise value
            return {"accuracy": value}

        monkeypatch.setattr(program, "evaluate", evaluate)
        return loop.train(config, folder, task, title="a run", console=quiet).result

    return run


def test_evaluations_of_a_run_are_in_its_folder_and_its_result(run, tmp_path, monkeypatch):
    result = run(tmp_path, monkeypatch, [0.1, 0.2, 0.9, 0.8])
    expected = [
        {"step": 2, "validation/accuracy": 0.1},
        {"step": 4, "validation/accuracy": 0.2},
    ]
    assert read(tmp_path) == result["history"] == expected
    # The last step is evaluated on every set.
    assert result["evaluations"]["validation"] == {"accuracy": 0.9}


def test_run_that_goes_on_makes_the_evaluation_in_which_it_was_stopped(run, tmp_path, monkeypatch):
    first = {"step": 2, "validation/accuracy": 0.1}
    with pytest.raises(Interrupted):
        run(tmp_path, monkeypatch, [0.1, Interrupted(4)])
    assert read(tmp_path) == [first]
    result = run(tmp_path, monkeypatch, [0.2, 0.9, 0.8])
    assert read(tmp_path) == result["history"] == [first, {"step": 4, "validation/accuracy": 0.2}]
    assert result["evaluations"]["validation"] == {"accuracy": 0.9}


def test_evaluations_after_the_step_that_a_run_goes_on_from_are_dropped(tmp_path):
    history = EvaluationHistory(tmp_path, start_step=0)
    assert not list(tmp_path.iterdir())
    for step in (2, 4, 6):
        history.add(step, {"validation/accuracy": step / 10})
    with (tmp_path / "evaluations.jsonl").open("a") as file:
        file.write('{"step": 8, "valid')
    again = EvaluationHistory(tmp_path, start_step=4)
    assert [row["step"] for row in again.rows] == [row["step"] for row in read(tmp_path)] == [2, 4]
    again.add(4, {"validation/accuracy": 0.7})
    assert read(tmp_path)[-1] == {"step": 4, "validation/accuracy": 0.7}
