"""A disk that is full ends no run: only the last save has to succeed."""

import contextlib
import dataclasses
import errno
import resource
import signal
import time

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
import pytest

from hopfield_attn.train.checkpoint import Checkpoints
from hopfield_attn.train.history import EvaluationHistory
from hopfield_attn.train.interrupt import Interrupted
from hopfield_attn.train.logging import MetricsLog, read_metrics
from hopfield_attn.train.row_file import read_rows
from hopfield_attn.train.state import init_state
from hopfield_attn.train.whole_checkpoint import CheckpointError
from tests.train.test_checkpoint import as_bytes
from tests.train.test_loop import linear_loss
from tests.train.test_resume import at_batch, losses


@contextlib.contextmanager
def full_disk(*, num_bytes=20_000):
    """No file may become longer: writes fail as on a full disk, in every thread."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def make_state(step):
    """Larger than the full disk takes, and random: it cannot be compressed."""
    params = {"w": jax.random.normal(jax.random.key(step), (30_000,))}
    return dataclasses.replace(init_state(params, optax.sgd(0.1)), step=jnp.int32(step))


def names(folder):
    return sorted(entry.name for entry in folder.iterdir() if entry.name.isdecimal())


def wait_for_a_line(checkpoints, said):
    deadline = time.monotonic() + 30
    while not said and time.monotonic() < deadline:
        checkpoints.check()
        time.sleep(0.01)


def test_failed_save_is_said_at_once_and_the_last_good_checkpoints_are_kept(tmp_path):
    said = []
    with Checkpoints(tmp_path, keep=2, say=said.append) as checkpoints:
        for step in (1, 2):
            checkpoints.save(make_state(step))
        checkpoints.finish()
        with full_disk():
            checkpoints.save(make_state(3))
            # No later save is needed to hear of it.
            wait_for_a_line(checkpoints, said)
            checkpoints.save(make_state(4))
            with pytest.raises(CheckpointError, match="checkpoint 4 could not be saved"):
                checkpoints.finish()
        assert [line.split(" (")[0] for line in said] == [
            "checkpoint 3 could not be saved",
            "checkpoint 4 could not be saved",
        ]
        assert names(tmp_path) == ["1", "2"]
        # There is room again.
        checkpoints.save(make_state(5))
    assert names(tmp_path) == ["2", "5"]
    with Checkpoints(tmp_path) as checkpoints:
        assert as_bytes(checkpoints.restore_latest(make_state(0))) == as_bytes(make_state(5))


@pytest.mark.parametrize("stop", [None, Interrupted(3)])
def test_run_whose_last_save_failed_does_not_end_well(stop, tmp_path):
    with (
        pytest.raises(CheckpointError, match="checkpoint 3 could not be saved"),
        full_disk(),
        Checkpoints(tmp_path, say=lambda line: None) as checkpoints,
    ):
        checkpoints.save(make_state(3))
        if stop is not None:
            raise stop


def test_error_of_the_run_comes_before_that_of_its_last_save(tmp_path):
    said = []
    with (
        pytest.raises(FloatingPointError),
        full_disk(),
        Checkpoints(tmp_path, say=said.append) as checkpoints,
    ):
        checkpoints.save(make_state(3))
        raise FloatingPointError
    assert len(said) == 1


def fail_to_save(monkeypatch, *, steps):
    original = ocp.CheckpointManager.save

    def save(self, step, *args, **kwargs):
        if step in steps:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, step, *args, **kwargs)

    monkeypatch.setattr(ocp.CheckpointManager, "save", save)


def test_run_goes_on_without_a_checkpoint_and_ends_as_ever(
    make_config, train, tmp_path, monkeypatch
):
    config = make_config({"model.heads": "identity"})
    expected = train(config, tmp_path / "expected", loss_fn=linear_loss)
    fail_to_save(monkeypatch, steps=[4, 8])
    found = train(config, tmp_path / "found", loss_fn=linear_loss)
    assert as_bytes(found.params) == as_bytes(expected.params)
    assert names(tmp_path / "found" / "checkpoints") == ["12"]


def test_run_that_cannot_save_its_end_has_no_result_and_the_same_command_goes_on(
    make_config, train, tmp_path, monkeypatch
):
    config = make_config({"model.heads": "identity"})
    with monkeypatch.context() as patch:
        fail_to_save(patch, steps=[12])
        with pytest.raises(CheckpointError, match="No space left"):
            train(config, tmp_path, loss_fn=linear_loss)
    assert not (tmp_path / "result.json").exists()
    with monkeypatch.context() as patch:
        fail_to_save(patch, steps=[10])
        at_batch(patch, 10, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(CheckpointError, match="checkpoint 10 could not be saved"):
            train(config, tmp_path, loss_fn=linear_loss)
    train(config, tmp_path, loss_fn=linear_loss)
    assert [step for step, _ in losses(tmp_path)] == list(range(1, 13))


def test_evaluations_that_a_full_disk_did_not_take_are_written_later(tmp_path):
    history = EvaluationHistory(tmp_path, start_step=0)
    with full_disk(num_bytes=10):
        history.add(1, {"dev/accuracy": 0.5})
        history.add(2, {"dev/accuracy": 0.75})
        history.close()
    assert read_rows(tmp_path / "evaluations.jsonl") == []
    history.close()
    assert read_rows(tmp_path / "evaluations.jsonl") == history.rows
    assert [row["step"] for row in history.rows] == [1, 2]


def test_log_of_a_run_that_goes_on_opens_on_a_full_disk(tmp_path):
    with MetricsLog(tmp_path, start_step=0) as log:
        for step in (1, 2, 3):
            log.write(step, 0.5)
    with full_disk(num_bytes=10):
        log = MetricsLog(tmp_path, start_step=2)
    with log:
        log.write(3, 0.25)
    assert [row["loss"] for row in read_metrics(tmp_path)] == [0.5, 0.5, 0.25]


def test_request_to_stop_comes_before_rows_that_cannot_be_written(tmp_path):
    def write_two_rows(error):
        with full_disk(num_bytes=70), MetricsLog(tmp_path, start_step=0) as log:
            log.write(1, 0.5)
            log.write(2, 0.5)
            if error:
                raise error

    with pytest.raises(Interrupted):
        write_two_rows(Interrupted(2))
    with pytest.raises(OSError, match="File too large"):
        write_two_rows(None)


def test_save_that_fails_where_nothing_can_be_printed_ends_no_run(tmp_path):
    def say(text):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Checkpoints(tmp_path, keep=2, say=say) as checkpoints:
        checkpoints.save(make_state(1))
        checkpoints.finish()
        with full_disk():
            checkpoints.save(make_state(2))
            with pytest.raises(CheckpointError, match="checkpoint 2 could not be saved"):
                checkpoints.finish()
        checkpoints.save(make_state(3))
    assert names(tmp_path) == ["1", "3"]


def test_rows_that_a_full_disk_did_not_take_are_written_later(tmp_path):
    with MetricsLog(tmp_path, start_step=0) as log:
        log.write(1, 0.5)
        with full_disk(num_bytes=70):
            log.write(2, 0.25)
            log.write(3, 0.125)
        log.write(4, 1.0)
        assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4]
        with full_disk(num_bytes=70):
            log.write(5, 1.0)
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4, 5]
