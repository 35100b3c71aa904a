"""Two real processes on this machine: they compute what one does, and end together."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hopfield_attn.train import processes
from hopfield_attn.train.interrupt import EXIT_CODE
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.processes import (
    HEARTBEAT_SECONDS,
    Watchdog,
    detects_cluster,
    in_writer,
    join_processes,
)

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "train.py"
# The process with this number does something to itself at this step.
FAULTY = """
import os, runpy, signal, sys, time
from hopfield_attn.train import main, program

number, fault = int(os.environ["FAULTY_PROCESS"]), os.environ["FAULT"]
mine = f"--process_id={number}" in sys.argv
steps, place = [], program.shard_batch

def shard_batch(batch, mesh):
    steps.append(1)
    if len(steps) == 4:
        print("fault", flush=True)
        if mine and fault == "raise":
            raise RuntimeError("boom")
        if mine and fault == "hang":
            time.sleep(600)
    return place(batch, mesh)

program.shard_batch = shard_batch

def stopping(fn, moment):
    sent = []
    def stop_and_call(*args, **kwargs):
        if mine and fault == moment and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGUSR1))
        return fn(*args, **kwargs)
    return stop_and_call

main.make_task = stopping(main.make_task, "stop in preparation")
program.evaluate = stopping(program.evaluate, "stop in evaluation")
program.shard_batch = stopping(shard_batch, "stop in training")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def start(make_config, tmp_path):
    """(folder, changes) → two processes that train on two devices between them."""
    started = []

    def start(name, changes, *, program=(), **environment):
        config = make_config(changes)
        path = tmp_path / f"{name}.json"
        path.write_text(config.to_json())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for number in range(2):
            command = [
                *(sys.executable, *program, SCRIPT, f"--config={path}"),
                f"--workdir={tmp_path / name}",
                f"--coordinator=127.0.0.1:{port}",
                *("--num_processes=2", f"--process_id={number}"),
            ]
            log = tmp_path / f"{name}.{number}.txt"
            flags = "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"
            with log.open("w") as file:
                process = subprocess.Popen(
                    command,
                    env=os.environ
                    | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(REPOSITORY), "XLA_FLAGS": flags}
                    | environment,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            process.log = log
            started.append(process)
        return started[-2:]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


SETTINGS = {
    "train.num_steps": 3,
    "train.checkpoint_every": 3,
    "train.eval_batch_size": 20,
    "model.dropout_rate": 0.0,
    "model.attention_dropout_rate": 0.0,
}


def losses(workdir):
    return [row["loss"] for row in read_metrics(workdir)]


@pytest.mark.parametrize(
    "changes",
    [{"mesh.fsdp": 2}, pytest.param({"mesh.data": 2}, marks=pytest.mark.slow)],
    ids=["parameters split", "batch split"],
)
def test_two_processes_train_as_one_does(changes, start, make_config, train, tmp_path):
    pair = start("two", SETTINGS | changes)
    train(make_config(SETTINGS), tmp_path / "one")
    for process in pair:
        assert process.wait(120) == 0, process.log.read_text()
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-6)
    first, second = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two")
    )
    assert first["evaluations"] == second["evaluations"]
    assert [entry.name for entry in (tmp_path / "two" / "checkpoints").iterdir()] == ["3"]
    # The second process has said nothing.
    assert "Held-out results" in pair[0].log.read_text()
    assert "Held-out results" not in pair[1].log.read_text()


@pytest.mark.slow
def test_one_of_two_processes_writes_the_report_beside_a_baseline(start, tmp_path):
    for process in start("two", SETTINGS | {"mesh.fsdp": 2, "baseline_heads": "identity"}):
        assert process.wait(300) == 0, process.log.read_text()
    assert (tmp_path / "two" / "report.html").is_file()


@pytest.mark.slow
def test_run_of_two_processes_goes_on_in_one_on_another_layout(start, make_config, train, tmp_path):
    changes = SETTINGS | {"train.num_steps": 6, "mesh.fsdp": 2}
    for process in start("two", changes):
        assert process.wait(120) == 0, process.log.read_text()
    (tmp_path / "two" / "result.json").unlink()
    # As if it had been stopped at step 3.
    for name in ("6",):
        subprocess.run(["rm", "-r", tmp_path / "two" / "checkpoints" / name], check=True)
    config = make_config(SETTINGS | {"train.num_steps": 6})
    train(config, tmp_path / "two")
    train(config, tmp_path / "one")
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-6)


LONG = SETTINGS | {"train.num_steps": 100_000, "train.checkpoint_every": 100_000, "mesh.fsdp": 2}


def seconds_until_both_end(pair, since, limit):
    codes = [process.wait(limit) for process in pair]
    assert all(code != 0 for code in codes), codes
    return time.monotonic() - since


def wait_for(path, text):
    for _ in range(600):
        if path.is_file() and text in path.read_text():
            return
        time.sleep(0.1)
    raise AssertionError(f"{text!r} did not appear: {path.read_text()}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "steps"),
    [("preparation", range(1)), ("training", range(1, 3)), ("evaluation", range(4, 5))],
)
@pytest.mark.parametrize("number", [0, 1])
def test_signal_to_one_process_stops_both_at_one_step(number, moment, steps, start, tmp_path):
    # An evaluation of one batch takes too little time to be interrupted.
    changes = LONG | {"train.eval_every": 4, "train.eval_batch_size": 2}
    environment = {"FAULTY_PROCESS": str(number), "FAULT": f"stop in {moment}"}
    pair = start("two", changes, program=("-c", FAULTY), **environment)
    stopped = []
    for process in pair:
        assert process.wait(120) == EXIT_CODE, process.log.read_text()
        stopped.append(re.search(r"Stopped.*", process.log.read_text())[0])
    assert stopped[0] == stopped[1]
    step = re.fullmatch(r"Stopped(?: at step (\d+), saved)?\. The same .*", stopped[0])[1] or 0
    assert int(step) in steps
    assert len(losses(tmp_path / "two")) == int(step)
    assert not (tmp_path / "two" / "evaluations.jsonl").exists()


@pytest.mark.core
def test_what_fails_in_the_writing_process_fails_in_all(monkeypatch):
    def fail():
        raise ValueError("another config")

    with pytest.raises(ValueError, match="another config"):
        in_writer(fail)
    done = []
    in_writer(lambda: done.append(1))
    assert done == [1]
    monkeypatch.setattr(processes, "is_writer", lambda: False)
    monkeypatch.setattr(processes, "any_process", lambda flag: True)
    with pytest.raises(ChildProcessError, match="the first process could not begin"):
        in_writer(fail)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_process_that_raises_ends_the_job_within_ten_seconds(number, start, tmp_path):
    pair = start("two", LONG, program=("-c", FAULTY), FAULTY_PROCESS=str(number), FAULT="raise")
    wait_for(pair[number].log, "fault")
    seconds = seconds_until_both_end(pair, time.monotonic(), 60)
    print(f"raised in process {number}: both ended after {seconds:.1f} s")
    assert seconds < 10
    assert "RuntimeError: boom" in pair[number].log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_killed_process_ends_the_job_within_a_heartbeat_and_five_seconds(number, start, tmp_path):
    pair = start("two", LONG)
    wait_for(tmp_path / "two" / "metrics.jsonl", '"step": 5')
    pair[number].send_signal(signal.SIGKILL)
    seconds = seconds_until_both_end(pair, time.monotonic(), 120)
    print(f"killed process {number}: both ended after {seconds:.1f} s")
    assert seconds < HEARTBEAT_SECONDS + 5


@pytest.mark.slow
def test_process_that_hangs_is_ended_by_the_watchdog_with_its_stack(start, tmp_path):
    changes = LONG | {"train.watchdog_seconds": 20.0}
    pair = start("two", changes, program=("-c", FAULTY), FAULTY_PROCESS="1", FAULT="hang")
    wait_for(pair[1].log, "fault")
    seconds = seconds_until_both_end(pair, time.monotonic(), 120)
    print(f"hung for a watchdog of 20 s: both ended after {seconds:.1f} s")
    assert 15 < seconds < 35
    text = pair[1].log.read_text()
    assert "Timeout" in text
    assert "in shard_batch" in text


@pytest.mark.core
def test_a_job_of_several_is_seen_in_the_environment():
    assert detects_cluster({"TPU_WORKER_HOSTNAMES": "host-0,host-1"})
    assert not detects_cluster({"TPU_WORKER_HOSTNAMES": "host-0"})
    assert not detects_cluster({"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "8"})


@pytest.mark.core
def test_one_process_joins_nobody_and_half_an_address_is_an_error(monkeypatch):
    monkeypatch.setattr(processes.os, "environ", {})
    nothing = {"coordinator": None, "num_processes": None, "process_id": None}
    assert not join_processes(**nothing)
    with pytest.raises(ValueError, match="belong together; got host:1, None and 0"):
        join_processes(**nothing | {"coordinator": "host:1", "process_id": 0})


@pytest.mark.core
def test_watchdog_ends_the_process_unless_it_hears_from_it():
    program = """
import time
from hopfield_attn.train.processes import Watchdog
with Watchdog(1.0) as watchdog:
    for _ in range(4):
        watchdog.beat()
        time.sleep(0.4)
print("alive", flush=True)
time.sleep(1.2)
with Watchdog(0.2) as watchdog:
    watchdog.beat()
    time.sleep(30)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "alive\n"
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    with pytest.raises(ValueError, match=r"train.watchdog_seconds must be >= 0; got -1"):
        Watchdog(-1)
