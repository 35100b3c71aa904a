"""One process after another; a signal reaches the one that runs, once, and starts no other."""

import contextlib
import os
import signal
import sys
import threading
import time

import pytest

from hopfield_attn.train.interrupt import SIGNALS
from hopfield_attn.train.sweep.processes import Outcome, Processes

pytestmark = [pytest.mark.core, pytest.mark.skipif(os.name != "posix", reason="signals")]

# Counts what it gets, says so, and ends with 75 after the first one unless a second comes at once.
CHILD = """
import pathlib, signal, sys, time
got = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: got.append(number))
pathlib.Path(sys.argv[1]).write_text("ready")
while not got:
    time.sleep(0.01)
time.sleep(0.2)
print("got", *map(int, got), file=sys.stderr)
sys.exit(75)
"""


def python(text, *arguments):
    return [sys.executable, "-c", text, *map(str, arguments)]


def test_outcome_is_the_exit_code_and_the_last_line(capfd):
    with Processes() as processes:
        done = processes.run(python("import sys; print('out'); sys.exit('one\\ntwo\\n')"))
        assert done == Outcome(1, "two")
        assert processes.run(python("")) == Outcome(0, "")
        given = {**os.environ, "GIVEN": "7"}
        shows = python("import os, sys; sys.exit(int(os.environ['GIVEN']))")
        assert processes.run(shows, environment=given).code == 7
        killed = processes.run(python("import os; os.kill(os.getpid(), 9)"))
        assert killed.code == -9
        assert not processes.is_stopped
    output, errors = capfd.readouterr()
    assert output == "out\n"
    assert "one\ntwo\n" in errors


def test_all_is_read_whatever_it_is_and_whether_or_not_it_can_be_shown(capfd, monkeypatch):
    # More than a pipe holds, after bytes that are no UTF-8.
    many = "import sys; e = sys.stderr.buffer; e.write(b'\\xff\\n' + b'x\\n' * 100_000 + b'end\\n')"
    with Processes() as processes:
        assert processes.run(python(many)) == Outcome(0, "end")
        with open("/dev/full", "w") as closed:
            monkeypatch.setattr(sys, "stderr", closed)
            found = processes.run(python(many))
            monkeypatch.undo()
            # What was not written cannot be written at the end either.
            with contextlib.suppress(OSError):
                closed.close()
    assert found == Outcome(0, "end")


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGUSR1, signal.SIGUSR1),
        (signal.SIGHUP, signal.SIGTERM),
    ],
)
def test_signal_goes_on_to_the_process_that_runs(sent, told, tmp_path, capfd):
    if signal.getsignal(sent) is signal.SIG_IGN:
        pytest.skip("the signal is ignored here, as SIGHUP is under nohup")
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def send():
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), sent)

    sender = threading.Thread(target=send)
    with Processes() as processes:
        sender.start()
        outcome = processes.run(python(CHILD, tmp_path / "ready"))
        sender.join()
        assert outcome == Outcome(75, f"got {int(told)}")
        assert processes.is_stopped
    assert {number: signal.getsignal(number) for number in before} == before


def test_signal_between_two_processes_is_not_lost():
    with Processes() as processes:
        processes.run(python(""))
        signal.raise_signal(signal.SIGTERM)
        assert processes.is_stopped
        # One that is started all the same is told at once.
        assert processes.run(python("import time; time.sleep(60)")).code != 0
