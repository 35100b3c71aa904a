"""How the commands end."""

import subprocess
import sys
from pathlib import Path

import pytest

from hopfield_attn.models import convert
from tests.scripts import load_script

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


def script_of(command):
    return load_script(f"scripts/{'profile_attention' if command == 'profile' else command}.py")


@pytest.mark.core
@pytest.mark.parametrize(("name", "option"), [("convert", "--head_layers"), ("profile", "--full")])
def test_help_of_every_command_has_its_options_and_exit_codes(name, option, capsys):
    module = script_of(name)
    assert module.main([name, "--help"]) == 0
    output = capsys.readouterr().out
    assert option in output
    assert "Exit codes: 0" in output


@pytest.mark.core
@pytest.mark.parametrize(("name", "option"), [("convert", "--form=x"), ("profile", "--rounds=0")])
def test_wrong_options_are_told_in_one_line(name, option, capsys):
    module = script_of(name)
    assert module.main([name, option]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert f"scripts/{name} --help has the options" in errors


@pytest.mark.core
@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ValueError("no BERT"), 2, "no BERT (HOPFIELD_DEBUG=1 shows where)"),
        (FileNotFoundError(2, "No such file"), 2, "No such file"),
        (OSError(28, "No space left"), 1, "[Errno 28] No space left"),
        (KeyboardInterrupt(), 75, "Stopped. The same command goes on."),
    ],
)
def test_conversion_ends_as_all_commands_do(error, code, words, tmp_path, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise error

    monkeypatch.delenv("HOPFIELD_DEBUG", raising=False)
    monkeypatch.setattr(convert, "convert_folder", fail)
    command = load_script("scripts/convert.py")
    assert command.main(["convert", f"--from={tmp_path}", f"--to={tmp_path / 'new'}"]) == code
    assert words in capsys.readouterr().err


@pytest.mark.core
def test_profile_that_fails_in_the_middle_was_not_called_wrongly(tmp_path, monkeypatch, capsys):
    def measure_one_and_fail(*arguments, **options):
        yield 0, {"n": 1, "T": None, "implementation": "", "direction": "", "status": ""}, False
        raise ValueError("torn file")

    monkeypatch.delenv("HOPFIELD_DEBUG", raising=False)
    monkeypatch.setattr("hopfield_attn.benchmark.profile.profile", measure_one_and_fail)
    command = load_script("scripts/profile_attention.py")
    assert command.main(["profile", "--smoke", f"--output={tmp_path}"]) == 1
    assert "error: torn file" in capsys.readouterr().err
