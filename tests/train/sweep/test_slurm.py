import os
import subprocess

import pytest

from hopfield_attn.train.sweep.slurm import slurm_script

pytestmark = [pytest.mark.core, pytest.mark.skipif(os.name != "posix", reason="a shell")]

COMMANDS = [["./train", "--a=1"], ["./train", "--a=x y|z"]]


@pytest.fixture
def submit(tmp_path):
    """(task number, exit code of the run) → the finished job; its tools say what they do."""
    script = tmp_path / "job.sh"
    folder = tmp_path / "a b"
    folder.mkdir()
    script.write_text(slurm_script(COMMANDS, name="n m", folder=str(folder), collect=["./collect"]))
    tools = {
        "srun": 'pwd\nprintf "%s\\n" "$@"\nexit "$CODE"\n',
        "scontrol": 'echo "scontrol $*"\n',
    }
    for name, text in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)

    def submit(number, code):
        variables = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_JOB_ID": "17", "CODE": str(code)}
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", script],
            env={**os.environ, **variables, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    return submit


def test_task_runs_its_command_in_the_folder(submit, tmp_path):
    done = submit(0, 0)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/a b\n./train\n--a=1\n")
    assert submit(1, 0).stdout.endswith("./train\n--a=x y|z\n")


def test_run_that_was_stopped_is_queued_again_and_one_that_failed_is_not(submit):
    done = submit(1, 75)
    assert done.returncode == 75
    assert done.stdout.splitlines()[-1] == "scontrol requeue 17"
    done = submit(1, 1)
    assert done.returncode == 1
    assert "scontrol" not in done.stdout


def test_number_without_a_run_is_an_error(submit):
    done = submit(2, 0)
    assert (done.returncode, done.stderr) == (2, "no run has the number 2\n")


def test_options_stand_before_the_first_command():
    lines = slurm_script(COMMANDS, name="n m", folder="/x", collect=["./collect"]).splitlines()
    assert lines[0] == "#!/bin/bash"
    options = [line for line in lines if line.startswith("#SBATCH ")]
    assert lines[1 : 1 + len(options)] == options
    assert "#SBATCH --array=0-1" in options
    assert "#SBATCH --job-name=n-m" in options
    assert "#   cd /x && ./collect" in lines
    with pytest.raises(ValueError, match="at least one run"):
        slurm_script([], name="n", folder="/x", collect=[])
