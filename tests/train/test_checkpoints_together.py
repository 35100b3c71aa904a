"""Processes of one job restore the same step, and take the same path when a save fails."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
import pytest

from hopfield_attn.train.checkpoint import Checkpoints
from hopfield_attn.train.processes import Exchange
from hopfield_attn.train.state import TrainState, init_state
from hopfield_attn.train.whole_checkpoint import CheckpointError
from tests.train.test_checkpoint import make_state

REPOSITORY = Path(__file__).resolve().parents[2]


class Pair:
    """Two threads that exchange as two processes do; each has a folder of its own."""

    def __init__(self, *, seconds=30.0):
        self._barrier = threading.Barrier(2, timeout=seconds)
        self._values = [None, None]

    def run(self, body):
        """[body(number, exchange) of both, or the error that it raised]"""
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(self._run_one, body, number) for number in range(2)]
        return [future.exception() or future.result() for future in futures]

    def _run_one(self, body, number):
        def gather(value):
            self._values[number] = value
            self._barrier.wait()
            found = list(self._values)
            self._barrier.wait()
            return found

        return body(
            number,
            Exchange(lambda flag: any(gather(flag)), lambda step: min(gather(step))),
        )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the checkpoints of steps 1, 2 and 3."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    with Checkpoints(folder, keep=3) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(make_state(step))
    return folder


@pytest.fixture
def folders(saved, tmp_path):
    """Two views of ``saved`` that a test may change."""
    return [shutil.copytree(saved, tmp_path / str(number)) for number in range(2)]


def restore_both(folders):
    """The restored steps, or errors, and the lines that were said."""
    said = [[], []]

    def restore(number, exchange):
        checkpoints = Checkpoints(folders[number], say=said[number].append, exchange=exchange)
        state = checkpoints.restore_latest(make_state())
        return None if state is None else int(state.step)

    return Pair().run(restore), said


def remove_steps(folder, *steps):
    for step in steps:
        shutil.rmtree(folder / str(step))


def test_step_that_only_one_process_sees_is_restored_by_none(folders):
    remove_steps(folders[1], 3)
    steps, said = restore_both(folders)
    assert steps == [2, 2]
    assert said == [[], []]


@pytest.mark.parametrize("number", [0, 1])
def test_step_that_is_damaged_for_one_process_is_restored_by_none(number, folders):
    shutil.rmtree(folders[number] / "3" / "checksums")
    steps, said = restore_both(folders)
    assert steps == [2, 2]
    assert "checkpoint 3 is damaged (it has no checksums)" in said[number][0]
    assert "checkpoint 3 is damaged (for another process)" in said[1 - number][0]


def test_processes_that_see_different_steps_end_with_both_named(folders):
    remove_steps(folders[0], 1, 2)
    remove_steps(folders[1], 3)
    errors, _ = restore_both(folders)
    for error in errors:
        assert isinstance(error, CheckpointError)
        assert "the processes do not agree on a whole checkpoint" in str(error)
        assert "All hosts have to see the same folder" in str(error)
    assert "this one has [3] left" in str(errors[0])
    assert "this one has none left" in str(errors[1])


def test_process_that_sees_no_checkpoint_does_not_begin_anew_alone(folders):
    shutil.rmtree(folders[1])
    errors, _ = restore_both(folders)
    assert all("do not agree" in str(error) for error in errors)
    shutil.rmtree(folders[0])
    assert restore_both(folders)[0] == [None, None]


def make_manager_class(moment, events):
    """A manager that only records; the first save in folder "1" fails at a moment."""

    class Manager:
        def __init__(self, directory, options):
            self._number, self._steps = int(Path(directory).name), []
            self._record("open")

        def _record(self, event):
            events[self._number].append(event)
            if self._number == 1 and event == moment and events[1].count(event) == 1:
                raise OSError("No space left on device")

        def all_steps(self):
            return self._steps

        def save(self, step, args, force):
            self._record("save")
            self._steps.append(step)

        def wait_until_finished(self):
            self._record("wait")

        def close(self):
            self._record("close")

    return Manager


@pytest.mark.parametrize("moment", ["open", "save", "wait"])
def test_save_that_fails_in_one_process_has_failed_in_all(moment, tmp_path, monkeypatch):
    """Orbax waits for all processes when a manager is made: none may make a new one alone."""
    events, said = [[], []], [[], []]
    monkeypatch.setattr(ocp, "CheckpointManager", make_manager_class(moment, events))

    def save_twice(number, exchange):
        folder = tmp_path / str(number)
        with Checkpoints(folder, say=said[number].append, exchange=exchange) as checkpoints:
            checkpoints.save(make_state(1))
            checkpoints.save(make_state(2))

    assert Pair().run(save_twice) == [None, None]
    assert said[1][0].startswith("checkpoint 1 could not be saved (OSError: No space left")
    assert said[0][0].startswith("checkpoint 1 could not be saved (in another process)")
    assert [events[number].count("open") for number in range(2)] == [2, 2]
    if moment != "open":
        assert events[0] == events[1]


def test_process_that_raises_does_not_wait_for_the_others(tmp_path, monkeypatch):
    events = [[], []]
    monkeypatch.setattr(ocp, "CheckpointManager", make_manager_class("never", events))

    def save_or_raise(number, exchange):
        with Checkpoints(tmp_path / str(number), exchange=exchange) as checkpoints:
            checkpoints.save(make_state(1))
            if number == 1:
                return "in its next step"
            raise FloatingPointError("in this process")

    # The second one leaves as a run does that ended well, and is alone with its questions.
    raised, alone = Pair(seconds=3.0).run(save_or_raise)
    assert isinstance(raised, FloatingPointError)
    assert isinstance(alone, threading.BrokenBarrierError)


# Each process reads a folder of its own; parameters are split over both.
RESTORES = """
import sys
import jax, jax.numpy as jnp, optax
from pathlib import Path
from jax.sharding import NamedSharding, PartitionSpec
from hopfield_attn.train.checkpoint import Checkpoints
from hopfield_attn.train.sharding import first_state, make_mesh

port, number, root = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
jax.distributed.initialize(f"127.0.0.1:{port}", 2, number)
mesh = make_mesh({"data": 1, "fsdp": 2, "tensor": 1, "context": 1})
like = first_state({"kernel": jnp.zeros((4, 6))}, optax.sgd(0.1), mesh)
state = Checkpoints(root / str(number)).restore_latest(like)
print("restored", int(state.step), float(jnp.sum(state.params["kernel"])), flush=True)
"""


@pytest.mark.slow
def test_two_real_processes_restore_the_step_that_is_whole_for_both(tmp_path):
    with Checkpoints(tmp_path / "0") as checkpoints:
        for step in (1, 2):
            state = init_state({"kernel": jnp.full((4, 6), float(step))}, optax.sgd(0.1))
            checkpoints.save(TrainState(jnp.int32(step), state.params, state.opt_state))
    shutil.copytree(tmp_path / "0", tmp_path / "1")
    shutil.rmtree(tmp_path / "1" / "2" / "checksums")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(REPOSITORY)}
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=1"
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", RESTORES, str(port), str(number), str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        for process in pair:
            out, errors = process.communicate(timeout=120)
            assert "restored 1 24.0" in out, errors
    finally:
        for process in pair:
            process.kill()
            process.communicate()
