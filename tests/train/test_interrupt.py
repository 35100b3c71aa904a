import signal
import threading

import pytest

from hopfield_attn.train.interrupt import EXIT_CODE, Interrupted, InterruptFlag

pytestmark = pytest.mark.core


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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
