"""The training command is asked to stop, at any moment: it ends with 75 and can go on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hopfield_attn.train.interrupt import EXIT_CODE
from hopfield_attn.train.logging import read_metrics

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "train.py"
# Says where the command is; and stays there for as long as nobody stops it.
MOMENTS = """
import hashlib, os, runpy, sys, time
from hopfield_attn.train import main, program

moment = os.environ["MOMENT"]
evaluate, make_task, place, steps = program.evaluate, main.make_task, program.shard_batch, []

def ready():
    print("ready", flush=True)

def make_task_(*args):
    if moment == "data":
        ready()
        time.sleep(60)
    return make_task(*args)

def evaluate_(*args, **kwargs):
    if moment == "evaluation":
        ready()
    return evaluate(*args, **kwargs)

def shard_batch(batch, mesh):
    steps.append(1)
    if moment == "compilation":
        ready()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # in C, as a compilation
    if moment == "training" and len(steps) == 40:
        ready()
    return place(batch, mesh)

main.make_task, program.evaluate, program.shard_batch = make_task_, evaluate_, shard_batch
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(moment: str, *arguments: object, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", MOMENTS, SCRIPT, *map(str, arguments)],
        env=os.environ | {"MOMENT": moment, "PYTHONPATH": str(REPOSITORY)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop(process: subprocess.Popen, number: int) -> tuple[float, str]:
    """Sends the signal once the process is ready; returns the seconds to its end, and its words."""
    for line in process.stdout:
        if line == "ready\n":
            break
    began = time.perf_counter()
    process.send_signal(number)
    try:
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    seconds = time.perf_counter() - began
    assert process.returncode == EXIT_CODE, stderr
    return seconds, stderr


@pytest.fixture
def arguments(make_config, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(make_config({"train.num_steps": 100_000, "train.log_every": 10}).to_json())
    return [f"--config={path}", f"--workdir={tmp_path}/run"]


def test_before_the_first_step_the_command_ends_at_once(arguments, tmp_path):
    seconds, stderr = stop(start("compilation", *arguments), signal.SIGUSR1)
    assert stderr == "Stopped. The same command goes on.\n"
    # What is faked as the compilation takes minutes.
    assert seconds < 20
    assert read_metrics(tmp_path / "run") == []


def test_in_training_the_command_saves_its_step(arguments, tmp_path):
    process = start("training", *arguments)
    _, stderr = stop(process, signal.SIGINT)
    step = int(re.fullmatch(r"Stopped at step (\d+), saved\. The same .*\n", stderr)[1])
    assert step >= 40
    assert (tmp_path / "run" / "checkpoints" / str(step)).is_dir()
    steps = [row["step"] for row in read_metrics(tmp_path / "run")]
    assert steps == list(range(10, step + 1, 10))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", ["data", "compilation", "training", "evaluation"])
def test_seconds_from_a_signal_to_the_end_of_a_quickstart(moment, tmp_path):
    """Prints the figures, and sees that the run goes on."""
    arguments = [f"--config={REPOSITORY}/configs/quickstart.py", f"--workdir={tmp_path}/run"]
    arguments += ["--config.train.eval_every=60", "--config.train.num_steps=90"]
    arguments += ["--config.baseline_heads="]
    caching = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    seconds, stderr = stop(start(moment, *arguments, **caching), signal.SIGTERM)
    print(f"SIGTERM in {moment}: {seconds:.2f} s to the end, {stderr.strip()}")
    assert seconds < 20  # a loaded machine; the figure is what is printed
    process = start("none", *arguments, **caching)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["num_steps"] == 90
    steps = [row["step"] for row in read_metrics(tmp_path / "run")]
    assert steps == list(range(10, 91, 10))
    (evaluation,) = (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()
    assert re.match(r'{"step": 60, "validation/', evaluation)
