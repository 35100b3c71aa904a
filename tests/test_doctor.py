"""The doctor says what is wrong and what to do; its exit code says whether anything is."""

import pytest

from scripts import doctor


def test_healthy_machine_is_all_ok(tmp_path, capsys):
    assert doctor.main(["doctor.py", f"--workdir={tmp_path / 'new' / 'run'}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", name] for name in ("versions", "devices", "identity", "folder")
    ]
    assert list(tmp_path.iterdir()) == []


def test_one_bad_answer_fails_and_the_other_checks_still_run(monkeypatch, capsys):
    def wrong():
        raise doctor.Problem("the step is wrong: get another device")

    monkeypatch.setattr(doctor, "check_identity", wrong)
    assert doctor.main(["doctor.py", "--workdir=/proc/none"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "!!  identity  the step is wrong: get another device"
    assert lines[3].startswith("!!  folder    /proc cannot be written to")


@pytest.mark.core
def test_unknown_argument_is_an_error(capsys):
    assert doctor.main(["doctor.py", "run"]) == 2
    assert "there is only --workdir=DIR" in capsys.readouterr().err
