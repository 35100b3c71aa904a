"""A run that was stopped and goes on is, bit by bit, the run that was not stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from hopfield_attn.train import loop
from hopfield_attn.train.interrupt import EXIT_CODE, Interrupted
from hopfield_attn.train.logging import read_metrics

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
    original = loop.iterate_batches

    def iterate(dataset, *, start_step, num_threads):
        batches = original(dataset, start_step=start_step, num_threads=num_threads)
        for step, batch in enumerate(batches, start=start_step + 1):
            if step == number:
                monkeypatch.setattr(loop, "iterate_batches", original)
                action()
            yield batch

    monkeypatch.setattr(loop, "iterate_batches", iterate)


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
    assert losses(tmp_path) == [row for row in losses(folder) if row[0] % 5 == 0]


def start_training(config: Path, workdir: Path, cache_dir: Path) -> subprocess.Popen:
    script = REPOSITORY / "scripts" / "train.py"
    return subprocess.Popen(
        [sys.executable, str(script), f"--config={config}", f"--workdir={workdir}"],
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache_dir)},
        cwd=config.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition, process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def test_command_that_was_killed_and_interrupted_ends_as_one_that_was_not(
    make_config, train, tmp_path, cache_dir
):
    num_steps, log_every = 240, 4
    config = make_config(
        {
            "train.num_steps": num_steps,
            "train.log_every": log_every,
            "train.checkpoint_every": 60,
        }
    )
    expected = train(config, tmp_path / "uninterrupted")
    path, workdir = tmp_path / "config.json", tmp_path / "run"
    path.write_text(config.to_json())

    process = start_training(path, workdir, cache_dir)
    wait_until(lambda: len(losses(workdir)) >= 18, process)
    process.kill()
    process.communicate()

    process = start_training(path, workdir, cache_dir)
    num_lines = len(losses(workdir))
    wait_until(lambda: len(losses(workdir)) > num_lines + 2, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == EXIT_CODE, stderr
    step = int(stderr.split("Stopped at step ")[1].split(",")[0])
    assert 0 < step < num_steps
    assert (workdir / "checkpoints" / str(step)).is_dir()
    assert losses(workdir) == losses(tmp_path / "uninterrupted")[: step // log_every]

    process = start_training(path, workdir, cache_dir)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert losses(workdir) == losses(tmp_path / "uninterrupted")
    result = json.loads((workdir / "result.json").read_text())
    assert result["evaluations"] == expected.result["evaluations"]
    # A finished folder: what comes back is the last checkpoint.
    assert as_bytes(train(config, workdir).params) == as_bytes(expected.params)
