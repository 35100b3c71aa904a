import os
import signal
import subprocess
import sys
import threading

import pytest

from hopfield_attn.train import interrupt
from hopfield_attn.train.interrupt import EXIT_CODE, SIGNALS, Interrupted, InterruptFlag
from scripts import exit_codes

pytestmark = pytest.mark.core


@pytest.fixture(params=SIGNALS, ids=lambda number: number.name)
def number(request):
    return request.param


def test_the_commands_and_the_library_agree():
    assert exit_codes.STOP_SIGNALS == SIGNALS
    assert exit_codes.STOPPED == EXIT_CODE == os.EX_TEMPFAIL


def test_first_signal_sets_the_flag_and_the_second_acts_as_always(number):
    seen = []
    previous = signal.signal(number, lambda *_: seen.append("as always"))
    try:
        with InterruptFlag() as flag:
            assert not flag.is_set
            signal.raise_signal(number)
            assert flag.is_set
            assert seen == []
            signal.raise_signal(number)
            assert seen == ["as always"]
    finally:
        signal.signal(number, previous)


def test_request_that_was_not_answered_is_passed_on(number):
    seen = []
    previous = signal.signal(number, lambda number, frame: seen.append(number))
    try:
        with InterruptFlag() as flag:
            signal.raise_signal(number)
        flag.pass_on()
        assert seen == [number]
        with InterruptFlag() as flag:
            pass
        flag.pass_on()
        assert seen == [number]
    finally:
        signal.signal(number, previous)


def test_request_of_an_outer_flag_counts_for_an_inner_one(number):
    with InterruptFlag() as outer:
        with InterruptFlag() as inner:
            assert not inner.is_set
        signal.raise_signal(number)
        assert outer.is_set
        with InterruptFlag() as inner:
            assert inner.is_set
    with InterruptFlag() as later:
        assert not later.is_set


def test_handlers_are_put_back(number):
    before = signal.getsignal(number)
    with InterruptFlag():
        assert signal.getsignal(number) != before
    assert signal.getsignal(number) == before
    with pytest.raises(RuntimeError), InterruptFlag():
        raise RuntimeError
    assert signal.getsignal(number) == before


def test_outside_the_main_thread_nothing_is_watched():
    errors = []

    def enter():
        try:
            with InterruptFlag() as flag:
                assert not flag.is_set
        except Exception as error:
            errors.append(error)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert errors == []
    assert signal.getsignal(signal.SIGINT) == before


def test_interruption_says_where_the_run_goes_on():
    assert Interrupted(7).step == 7
    assert str(Interrupted(7)) == "stopped at step 7"
    assert EXIT_CODE == 75


# Computes without a break in C, as a compilation does: no handler of Python runs meanwhile.
WATCHED = """
import hashlib, os, runpy, sys
module = runpy.run_path(sys.argv[1])
module["watch_signals"](lambda: os._exit(75))

def compile():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

if sys.argv[2] == "no flag":
    compile()
with module["InterruptFlag"]() as flag:
    flag.nothing_to_lose = sys.argv[2] == "nothing to lose"
    if sys.argv[2] == "first signal":
        print("ready", flush=True)
        while not flag.is_set:
            pass
        sys.exit(3)
    if sys.argv[2] == "second signal":
        os.kill(os.getpid(), 15)
        while not flag.is_set:
            pass
    compile()
"""


@pytest.mark.parametrize(
    ("case", "code"),
    [("no flag", 75), ("nothing to lose", 75), ("second signal", 75), ("first signal", 3)],
)
def test_watched_signal_ends_a_compilation_unless_there_is_a_step_to_save(case, code, number):
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED, interrupt.__file__, case],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        try:
            assert process.wait(20) == code
        finally:
            process.kill()
