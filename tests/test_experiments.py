"""The tables of an experiment's README are those of its results."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(ROOT.glob("experiments/*/collect.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
def test_tables_are_made_from_the_results(script):
    if list((script.parent / "results").glob("*.json")):
        subprocess.run([sys.executable, script, "--check"], check=True)
    else:
        # A prediction is written down before the run.
        assert "Not run yet." in (script.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", [s.parent for s in SCRIPTS], ids=lambda path: path.name)
def test_an_experiment_says_what_was_asked_expected_done_and_found(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    for heading in ("Question", "Prediction", "Command", "Result", "Conclusion"):
        assert f"## {heading}" in text


@pytest.mark.parametrize("folder", [s.parent for s in SCRIPTS], ids=lambda path: path.name)
def test_every_picture_is_on_the_page(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    shown = {folder / name for name in re.findall(r"\]\(([^)]+\.png)\)", text)}
    assert shown == set(folder.rglob("*.png"))


RUN_SCRIPTS = pytest.mark.parametrize(
    ("name", "arguments", "tasks", "num_sweeps"),
    [
        ("01_glue_nonlinear_heads", ("BERT", "GLUE"), ("cola", "sst2", "rte", "stsb"), 2),
        (
            "03_attention_patterns",
            (),
            ("recall", "induction", "match2", "match3", "retrieval", "brackets"),
            2,
        ),
        ("04_lambda", (), ("match3", "retrieval"), 3),
        ("05_wells", (), ("retrieval",), 2),
    ],
)


@pytest.fixture
def run_script(tmp_path):
    """(name, arguments, exit code of every sweep) → the script's process, with no sweep made."""

    def run(name, arguments, code):
        script = tmp_path / "experiments" / name / "run.sh"
        script.parent.mkdir(parents=True)
        shutil.copy(ROOT / "experiments" / name / "run.sh", script)
        shutil.copy(ROOT / "experiments" / "sweep.sh", tmp_path / "experiments")
        stand = tmp_path / "scripts" / "sweep"
        stand.parent.mkdir()
        stand.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*"\nexit {code}\n')
        stand.chmod(0o755)
        return subprocess.run([script, *arguments, "runs"], capture_output=True, text=True)

    return run


# A sweep in which runs failed does not end the script.
@pytest.mark.core
@pytest.mark.parametrize("code", [0, 1])
@RUN_SCRIPTS
def test_run_script_sweeps_every_task(name, arguments, tasks, num_sweeps, code, run_script):
    done = run_script(name, arguments, code)
    assert (done.returncode, done.stderr) == (code, "")
    swept = [re.search(r":task=(\w+)", line)[1] for line in done.stdout.splitlines()]
    assert swept == [task for task in tasks for _ in range(num_sweeps)]
    folders = re.findall(r"--workdir=(\S+)", done.stdout)
    assert len(set(folders)) == len(swept)
    assert "seed=0,1,2" in done.stdout


@pytest.mark.core
@pytest.mark.parametrize("code", [2, 75])
def test_run_script_that_is_stopped_begins_no_other_sweep(code, run_script):
    done = run_script("04_lambda", (), code)
    assert done.returncode == code and len(done.stdout.splitlines()) == 1


def test_a_script_that_collects_wants_folders_that_exist(tmp_path):
    command = [sys.executable, SCRIPTS[0], tmp_path / "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and f"there is none at {tmp_path / 'none'}" in done.stderr


def test_the_ledger_is_made_from_the_results():
    subprocess.run([sys.executable, ROOT / "experiments" / "ledger.py", "--check"], check=True)


def hold_out(glue, num_rows, target):
    script = ROOT / "experiments" / "01_glue_nonlinear_heads" / "hold_out.py"
    command = [sys.executable, script, glue, "RTE", str(num_rows), target]
    return subprocess.run(command, capture_output=True, text=True)


def test_held_out_rows_are_taken_from_the_training_split(tmp_path):
    glue, header = tmp_path / "glue", "index\tsentence1\tsentence2\tlabel"
    (glue / "RTE").mkdir(parents=True)
    rows = [f"{i}\tα {i}\tb\tentailment" for i in range(20)]
    (glue / "RTE" / "train.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")

    found = []
    for name in ("first", "second"):
        assert hold_out(glue, 5, tmp_path / name).returncode == 0
        splits = [
            (tmp_path / name / "RTE" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
            for split in ("train", "dev")
        ]
        assert [split[0] for split in splits] == [header, header]
        train, dev = (split[1:] for split in splits)
        assert (len(train), len(dev)) == (15, 5)
        # Not the last ones, and each in the order of the file.
        assert sorted(train + dev, key=rows.index) == rows and dev != rows[-5:]
        found.append((train, dev))
    assert found[0] == found[1]
    assert "expected 1 to 19 rows to hold out; got 20" in hold_out(glue, 20, tmp_path / "x").stderr
