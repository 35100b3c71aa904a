"""A run that was stopped and goes on is, bit by bit, the run that was not stopped."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest

from hopfield_attn.train import evaluate, step_loop
from hopfield_attn.train.interrupt import Interrupted
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.row_file import read_rows
from hopfield_attn.train.run_files import read_result

REPOSITORY = Path(__file__).resolve().parents[2]


class Killed(BaseException):
    """Ends a run where it stands."""


def losses(workdir: Path) -> list[tuple[int, str]]:
    return [(row["step"], row["loss_hex"]) for row in read_metrics(workdir)]


def as_bytes(params) -> dict[str, tuple]:
    return {
        jax.tree_util.keystr(path): (leaf.dtype, leaf.shape, np.asarray(leaf).tobytes())
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


def at_batch(monkeypatch, number: int, action) -> None:
    """Runs ``action`` once, when the batch of update ``number`` is handed to the loop."""
    original = step_loop.iterate_batches

    def iterate(dataset, *, start_step, num_threads):
        batches = original(dataset, start_step=start_step, num_threads=num_threads)
        for step, batch in enumerate(batches, start=start_step + 1):
            if step == number:
                monkeypatch.setattr(step_loop, "iterate_batches", original)
                action()
            yield batch

    monkeypatch.setattr(step_loop, "iterate_batches", iterate)


def at_evaluation_batch(monkeypatch, number: int, action) -> list:
    """Runs ``action`` once, in the evaluation batch of this number; returns what grows by batch."""
    original, batches = evaluate.eval_batches, []

    def iterate(*args, **kwargs):
        for batch in original(*args, **kwargs):
            batches.append(1)
            if len(batches) == number:
                action()
            yield batch

    monkeypatch.setattr(evaluate, "eval_batches", iterate)
    return batches


def kill():
    raise Killed


@pytest.fixture(scope="module")
def uninterrupted(make_config, train, tmp_path_factory):
    """The trained model, and the folder, of a run from start to end."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    return train(make_config(), workdir), workdir


@pytest.mark.parametrize(
    ("stops", "number"),
    [
        ([4], signal.SIGINT),  # where a checkpoint is due anyway
        ([6], signal.SIGTERM),  # between two checkpoints
        ([5, 11], signal.SIGUSR1),
        ([1, 2, 12], signal.SIGINT),  # more than once; at the first and at the last step
    ],
)
def test_interrupted_run_goes_on_as_if_it_had_not_been(
    stops, number, uninterrupted, make_config, train, tmp_path, monkeypatch
):
    model, folder = uninterrupted
    for stop in stops:
        at_batch(monkeypatch, stop, lambda: signal.raise_signal(number))
        with pytest.raises(Interrupted) as stopped:
            train(make_config(), tmp_path)
        assert stopped.value.step == stop
        assert losses(tmp_path) == losses(folder)[:stop]
        assert not (tmp_path / "result.json").exists()
    resumed = train(make_config(), tmp_path)
    assert losses(tmp_path) == losses(folder)
    assert as_bytes(resumed.params) == as_bytes(model.params)
    assert resumed.result["evaluations"] == model.result["evaluations"]


def test_run_killed_after_its_last_checkpoint_repeats_the_steps_it_lost(
    uninterrupted, make_config, train, tmp_path, monkeypatch
):
    model, folder = uninterrupted
    at_batch(monkeypatch, 8, kill)
    with pytest.raises(Killed):
        train(make_config(), tmp_path)
    # Steps 5 and 6 are logged, but the checkpoint is of step 4.
    assert losses(tmp_path) == losses(folder)[:6]
    at_batch(monkeypatch, 6, kill)
    with pytest.raises(Killed):
        train(make_config(), tmp_path)
    assert losses(tmp_path) == losses(folder)[:4]
    resumed = train(make_config(), tmp_path)
    assert losses(tmp_path) == losses(folder)
    assert as_bytes(resumed.params) == as_bytes(model.params)


def test_where_a_run_was_stopped_does_not_move_its_log_lines(
    uninterrupted, make_config, train, tmp_path, monkeypatch
):
    config = make_config({"train.log_every": 5, "train.checkpoint_every": 3})
    at_batch(monkeypatch, 5, kill)
    with pytest.raises(Killed):
        train(config, tmp_path)
    train(config, tmp_path)
    _, folder = uninterrupted
    # The last step has a row because energies are measured there.
    assert losses(tmp_path) == [row for row in losses(folder) if row[0] in (5, 10, 12)]


# Each evaluation has two batches; those of both sets at the end are number 7 to 10.
EVALUATED = {"train.eval_every": 3, "train.checkpoint_every": 6}


@pytest.fixture(scope="module")
def evaluated(make_config, train, tmp_path_factory):
    """The trained model, and the folder, of a run with evaluations on the way."""
    workdir = tmp_path_factory.mktemp("evaluated")
    return train(make_config(EVALUATED), workdir), workdir


def assert_same_run(workdir, resumed, expected) -> None:
    model, folder = expected
    assert losses(workdir) == losses(folder)
    assert as_bytes(resumed.params) == as_bytes(model.params)
    for name in ("evaluations", "history"):
        assert resumed.result[name] == model.result[name]
    file = "evaluations.jsonl"
    assert (workdir / file).read_bytes() == (folder / file).read_bytes()


@pytest.mark.parametrize(("batch", "step"), [(1, 3), (3, 6), (7, 12)])
def test_run_interrupted_in_an_evaluation_stops_after_the_batch_and_makes_it_again(
    batch, step, evaluated, make_config, train, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        batches = at_evaluation_batch(patch, batch, lambda: signal.raise_signal(signal.SIGUSR1))
        with pytest.raises(Interrupted) as stopped:
            train(make_config(EVALUATED), tmp_path)
    assert (stopped.value.step, len(batches)) == (step, batch)
    assert (tmp_path / "checkpoints" / str(step)).is_dir()
    assert read_result(tmp_path) is None
    assert losses(tmp_path) == losses(evaluated[1])[:step]
    assert_same_run(tmp_path, train(make_config(EVALUATED), tmp_path), evaluated)


def test_run_killed_in_the_evaluation_of_a_saved_step_makes_it_again(
    evaluated, make_config, train, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        at_evaluation_batch(patch, 4, kill)
        with pytest.raises(Killed):
            train(make_config(EVALUATED), tmp_path)
    history = read_rows(tmp_path / "evaluations.jsonl")
    assert (tmp_path / "checkpoints" / "6").is_dir()
    assert [row["step"] for row in history] == [3]
    assert_same_run(tmp_path, train(make_config(EVALUATED), tmp_path), evaluated)


def test_run_whose_evaluation_fails_has_saved_the_step(
    evaluated, make_config, train, tmp_path, monkeypatch
):
    def fail():
        raise ValueError("scores that cannot be")

    with monkeypatch.context() as patch:
        at_evaluation_batch(patch, 1, fail)
        with pytest.raises(ValueError, match="scores that cannot be"):
            train(make_config(EVALUATED), tmp_path)
    assert (tmp_path / "checkpoints" / "3").is_dir()
    assert_same_run(tmp_path, train(make_config(EVALUATED), tmp_path), evaluated)


def start_training(config: Path, workdir: Path, cache_dir: Path) -> subprocess.Popen:
    script = REPOSITORY / "scripts" / "train.py"
    caching = {
        "JAX_COMPILATION_CACHE_DIR": str(cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        [sys.executable, str(script), f"--config={config}", f"--workdir={workdir}"],
        env={**os.environ, **caching},
        cwd=config.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition, process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def saves_under_way(workdir: Path, *, since: int) -> list[Path]:
    """Folders that orbax renames once a save is whole, changed after a time in ns."""
    found = []
    for folder in (workdir / "checkpoints").glob("*orbax-checkpoint-tmp*"):
        try:
            if folder.stat().st_ctime_ns > since:
                found.append(folder)
        except FileNotFoundError:  # renamed just now
            pass
    return found


def kill_once(moment: str, start, workdir: Path, draw: random.Random) -> str:
    """Starts the command and kills it; returns where: "save", or "elsewhere".

    Args:
      moment: "any" (imports and compilation too), "steps" (after some progress) or "save".
      start: () -> process.
      workdir: the run folder.
      draw: gives the delay.
    """
    num_lines, since = len(losses(workdir)), time.time_ns()
    process = start()
    if moment == "any":
        time.sleep(draw.uniform(0, 8))
    else:
        wait_until(lambda: len(losses(workdir)) > num_lines + 2, process)
        if moment == "save":
            wait_until(lambda: saves_under_way(workdir, since=since), process)
        time.sleep(draw.uniform(0, 0.04 if moment == "save" else 0.5))
    process.kill()
    _, stderr = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"too short a run: {stderr}"
    return "save" if saves_under_way(workdir, since=since) else "elsewhere"


@pytest.mark.parametrize(
    ("moments", "changes"),
    [
        pytest.param(
            ["save"],
            {"train.num_steps": 240, "train.log_every": 4, "train.checkpoint_every": 60},
            id="1 kill",
        ),
        pytest.param(
            ["any", "save", "steps", "save"] * 6,
            {
                "train.num_steps": 6000,
                "train.log_every": 10,
                "train.checkpoint_every": 40,
                "train.accumulate": 2,
            },
            marks=[pytest.mark.slow, pytest.mark.timeout(1800)],
            id="24 kills",
        ),
    ],
)
def test_command_that_was_killed_ends_as_one_that_was_not(
    moments, changes, make_config, train, tmp_path
):
    config = make_config(changes)
    expected = train(config, tmp_path / "uninterrupted")
    expected_losses = losses(tmp_path / "uninterrupted")
    path, workdir, draw = tmp_path / "config.json", tmp_path / "run", random.Random(0)
    path.write_text(config.to_json())

    def start() -> subprocess.Popen:
        return start_training(path, workdir, tmp_path / "compiled")

    began = time.monotonic()
    hits = Counter(kill_once(moment, start, workdir, draw) for moment in moments)
    print(f"{len(moments)} kills in {time.monotonic() - began:.0f} s: {dict(hits)}")
    assert len(moments) < 20 or hits["save"] >= 4

    process = start()
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert losses(workdir) == expected_losses
    assert read_result(workdir)["evaluations"] == expected.result["evaluations"]
    # A finished folder: what comes back is the last checkpoint.
    assert as_bytes(train(config, workdir).params) == as_bytes(expected.params)
