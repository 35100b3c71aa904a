"""The sweep command: what is wrong is refused before any run; the same command goes on."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hopfield_attn.files import write_json
from hopfield_attn.train.interrupt import EXIT_CODE
from hopfield_attn.train.run_folder import open_run_folder
from hopfield_attn.train.sweep import processes as sweep_processes
from hopfield_attn.train.sweep.processes import Outcome
from tests.scripts import load_script

REPOSITORY = Path(__file__).resolve().parents[1]
SYNTHETIC = f"--config={REPOSITORY}/configs/synthetic.py:smoke"
HEADS = "model.heads=identity|identity:2,quadratic:2"


@pytest.fixture(scope="module")
def command():
    """The script as a module, without running it."""
    return load_script("scripts/sweep.py")


@pytest.fixture
def run(command, capsys):
    """(arguments) → exit code, standard output, standard error."""

    def run(*arguments):
        code = command.main(["sweep.py", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


class Stand:
    """Stands for the processes: trains nothing, and leaves the folder that a run would leave."""

    def __init__(self):
        self.started, self.caches = [], []
        self.outcomes = {}
        self.is_stopped = False

    def __call__(self):
        self.is_stopped = False
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def run(self, command, *, environment):
        self.caches.append(environment["JAX_COMPILATION_CACHE_DIR"])
        assert Path(self.caches[-1]).is_dir()
        parse = load_script("scripts/train.py").parse_arguments
        config, workdir = parse(command[1:])
        self.started.append(workdir.name)
        open_run_folder(workdir, config)
        (workdir / "metrics.jsonl").write_text('{"step": 2, "loss": 1.5}\n')
        code, line = self.outcomes.get(workdir.name, (0, ""))
        if code == EXIT_CODE:
            self.is_stopped = True
        if code:
            return Outcome(code, line)
        accuracy = (config.seed + 1) / (8 if config.model.heads == "identity" else 4)
        result = {"evaluations": {"test": {"accuracy": accuracy}}, "wall_seconds": 1.0}
        result["main_metric"] = "accuracy"
        write_json(workdir / "result.json", result)
        if config.baseline_heads:
            (workdir / "baseline").mkdir(exist_ok=True)
            write_json(workdir / "baseline" / "result.json", result)
            for name in ("report.html", "comparison.png"):
                (workdir / name).write_text("")
        return Outcome(0, "")


@pytest.fixture
def stand(monkeypatch):
    stand = Stand()
    monkeypatch.setattr(sweep_processes, "Processes", stand)
    return stand


NAMES = [
    f"model.heads={heads},seed={seed}"
    for seed in (0, 1)
    for heads in ("identity", "identity-2+quadratic-2")
]


def test_grid_is_run_once_and_summarised(run, stand, tmp_path):
    arguments = (SYNTHETIC, f"--workdir={tmp_path}", "seed=0,1", HEADS)
    code, output, errors = run(*arguments)
    assert (code, errors) == (0, "")
    assert stand.started == NAMES
    assert f"[4/4] {NAMES[3]}" in output
    summary = json.loads((tmp_path / "sweep.json").read_text())
    first, second = summary["settings"]
    assert first["setting"] == {"model.heads": "identity"}
    assert first["metrics"]["test accuracy"] == {
        "mean": 0.1875, "standard_error": 0.0625, "num": 2,
    }  # fmt: skip
    # 1/4 − 1/8 and 2/4 − 2/8.
    assert second["difference"]["metrics"]["test accuracy"]["mean"] == 0.1875
    assert summary["missing"] == []
    assert shlex.split(summary["command"]) == ["./scripts/sweep", *arguments]
    assert "All 4 runs are finished." in (tmp_path / "sweep.md").read_text()
    # Once more: nothing is left to do. With one more seed: only that one.
    assert run(*arguments)[0] == 0
    assert len(stand.started) == 4
    code, output, _ = run(SYNTHETIC, f"--workdir={tmp_path}", "seed=0,1,2", HEADS)
    assert "4 of 6 runs are finished already" in output
    assert [name.rpartition("=")[2] for name in stand.started[4:]] == ["2", "2"]


def test_runs_share_a_compilation_cache(run, stand, tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    assert run(SYNTHETIC, f"--workdir={tmp_path}", "seed=0,1")[0] == 0
    first, second = stand.caches
    assert first == second
    assert Path(first).parent == tmp_path
    assert not Path(first).exists()
    # One that the user has is used, and kept.
    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(kept))
    assert run(SYNTHETIC, f"--workdir={tmp_path}", "seed=2,3")[0] == 0
    assert stand.caches[2:] == [str(kept)] * 2
    assert kept.is_dir()


def test_run_that_fails_does_not_end_the_others_and_is_tried_again(run, stand, tmp_path):
    arguments = (SYNTHETIC, f"--workdir={tmp_path}", "seed=0,1", HEADS)
    stand.outcomes[NAMES[1]] = (1, "error: loss is nan at step 3")
    code, _, errors = run(*arguments)
    assert code == 1
    assert errors == f"error: {NAMES[1]}: exit code 1, loss is nan at step 3\n"
    assert stand.started == NAMES
    reason = "exit code 1, loss is nan at step 3"
    missing = json.loads((tmp_path / "sweep.json").read_text())["missing"]
    assert missing == [{"name": NAMES[1], "reason": reason}]
    # What is collected later knows it still; so does a sweep that is stopped before it.
    assert run(*arguments, "--collect")[0] == 1
    assert json.loads((tmp_path / "sweep.json").read_text())["missing"] == missing
    (tmp_path / NAMES[0] / "result.json").unlink()
    stand.outcomes[NAMES[0]] = (EXIT_CODE, "Stopped")
    assert run(*arguments)[0] == EXIT_CODE
    assert json.loads((tmp_path / "sweep.json").read_text())["missing"][1:] == missing
    stand.outcomes.clear()
    assert run(*arguments)[0] == 0
    assert stand.started[4:] == [NAMES[0], *NAMES[:2]]
    assert json.loads((tmp_path / "sweep.json").read_text())["missing"] == []


def test_damaged_summary_is_named(run, stand, tmp_path):
    (tmp_path / "sweep.json").write_text("[]")
    code, _, errors = run(SYNTHETIC, f"--workdir={tmp_path}", "seed=0,1")
    assert code == 2 and f"{tmp_path}/sweep.json is no summary of a sweep" in errors
    assert stand.started == []


def test_sweep_that_is_stopped_goes_on_with_the_run_that_was_stopped(run, stand, tmp_path):
    arguments = (SYNTHETIC, f"--workdir={tmp_path}", "seed=0,1", HEADS)
    stand.outcomes[NAMES[1]] = (EXIT_CODE, "Stopped at step 2, saved. The same command goes on.")
    code, _, errors = run(*arguments)
    assert code == EXIT_CODE
    assert errors == "Stopped, 1 of 4 runs are finished. The same command goes on.\n"
    assert stand.started == NAMES[:2]
    reasons = [r["reason"] for r in json.loads((tmp_path / "sweep.json").read_text())["missing"]]
    assert reasons == ["not finished, 2 of 8 steps logged", "not started", "not started"]
    stand.outcomes.clear()
    assert run(*arguments)[0] == 0
    assert stand.started[2:] == NAMES[1:]


@pytest.mark.parametrize("missing", ["report.html", "comparison.png", "baseline/result.json"])
def test_run_with_a_baseline_is_finished_when_both_are_compared(run, stand, tmp_path, missing):
    arguments = (SYNTHETIC, "--config.baseline_heads=identity", f"--workdir={tmp_path}", "seed=0,1")
    run(*arguments)
    (tmp_path / "seed=1" / missing).unlink()
    run(*arguments)
    assert stand.started == ["seed=0", "seed=1", "seed=1"]


def test_commands_can_be_printed_and_make_the_same_runs(run, stand, tmp_path, monkeypatch):
    fixed = ("--config.model.lam", "2", "--config.train.num_steps=3")
    arguments = (SYNTHETIC, *fixed, "--workdir=runs/x", "seed=0,1", HEADS)
    code, output, _ = run(*arguments, "--print")
    assert code == 0
    parse = load_script("scripts/train.py").parse_arguments
    parsed = [parse(shlex.split(line)) for line in output.splitlines()]
    assert [workdir for _, workdir in parsed] == [Path("runs/x", name) for name in NAMES]
    assert {(c.model.lam, c.train.num_steps) for c, _ in parsed} == {(2.0, 3)}
    assert [(c.seed, c.model.heads) for c, _ in parsed] == [
        (seed, heads) for seed in (0, 1) for heads in ("identity", "identity:2,quadratic:2")
    ]
    monkeypatch.chdir(tmp_path)
    code, output, _ = run(*arguments, "--slurm")
    assert code == 0
    assert output.startswith("#!/bin/bash\n#SBATCH --job-name=sweep-x\n#SBATCH --array=0-3\n")
    assert f"cd {tmp_path}" in output
    assert "--collect" in output
    assert stand.started == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sed=0,1"], "sed=0,1: the config has no key 'sed'; did you mean 'seed'?"),
        (["model.head=a|b"], "did you mean 'model.heads'?"),
        (["seed=0,1", "--config.model.widht=2"], "did you mean 'model.width'?"),
        (["seed=0,one"], "--config.seed=one: invalid literal for int"),
        (["seed=0,1,1"], "the value '1' is there twice"),
        (["model.lam=1,1.0"], "two runs of the grid would share the folder model.lam=1.0"),
        (["seed"], "unexpected argument 'seed'; what varies looks like seed=0,1,2"),
        (["seed=0,1", "--dry"], "Unknown command line flag 'dry'"),
        (["seed=0,1", "seed=2"], "seed varies twice"),
        ([], "nothing varies; name a key and its values, as in seed=0,1,2"),
        (["seed=0", "--print", "--slurm"], "of --print and --slurm only one can be done"),
        # Without a bar these are two settings, of two heads each.
        (["model.heads=identity:2,quadratic:2"], "model.heads=identity-2: heads='identity:2'"),
        (["model.heads=identity|qadratic"], "did you mean 'quadratic'?"),
        (["train.batch_size=8,0"], "train.batch_size=0: train.batch_size must be >= 1; got 0"),
        (["seed=-1"], "seed must be >= 0; got -1"),
    ],
)
def test_mistakes_are_refused_in_one_line_before_any_run(arguments, words, run, stand, tmp_path):
    folder = tmp_path / "sweep"
    code, output, errors = run(SYNTHETIC, f"--workdir={folder}", *arguments)
    assert (code, output, len(errors.splitlines())) == (2, "", 1)
    assert errors.startswith("error: ")
    assert words in errors
    assert stand.started == []
    assert not folder.exists()


def test_config_and_folder_have_to_be_given(run, tmp_path):
    assert "--config=FILE is missing" in run("seed=0", f"--workdir={tmp_path}")[2]
    assert "--workdir=DIR is missing" in run("seed=0", SYNTHETIC)[2]


def test_folder_of_another_run_is_refused_before_any_run(run, stand, tmp_path):
    arguments = (SYNTHETIC, f"--workdir={tmp_path}", "seed=0,1")
    run(*arguments)
    code, _, errors = run(*arguments, "--config.model.lam=2")
    assert code == 2
    assert "model.lam: 1.0 there, 2.0 asked for" in errors
    assert len(stand.started) == 2


def test_help_shows_the_syntax(run):
    code, output, errors = run("--help", "sed=1")
    assert (code, errors) == (0, "")
    for text in ("seed=0,1,2", "identity|identity:2,quadratic:2", "--slurm", "75 stopped"):
        assert text in output


def test_a_run_of_the_sweep_is_one_of_the_training_command(tmp_path):
    small = ["--config.model.heads=identity", "--config.model.num_layers=1"]
    small += ["--config.data.num_train_examples=64"]
    arguments = [SYNTHETIC, *small, f"--workdir={tmp_path}/sweep", "seed=3"]
    done = subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "sweep.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "sweep"
    result = json.loads((folder / "seed=3" / "result.json").read_text())
    (setting,) = json.loads((folder / "sweep.json").read_text())["settings"]
    assert (setting["setting"], setting["seeds"]) == ({}, [3])
    assert setting["metrics"]["test accuracy"] == {
        "mean": result["evaluations"]["test"]["accuracy"], "standard_error": None, "num": 1,
    }  # fmt: skip
