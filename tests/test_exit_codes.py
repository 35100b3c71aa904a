"""How the commands end."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONG = "import sys; from scripts.exit_codes import run_command as run; " + (
    "sys.exit(run(lambda _: print('word ' * 100_000) or 0, sys.argv, help_text='a ' * 99_999))"
)


@pytest.mark.core
@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_a_reader_that_stops_early_gets_no_traceback(arguments):
    command = [sys.executable, "-c", LONG, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        process.stdout.read(1)
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (1, "")
