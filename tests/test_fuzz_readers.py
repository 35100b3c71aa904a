"""A spoilt file is read, or refused in one line that names it; no reader fails in another way."""

import contextlib
import math
import signal
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings

from tests.mutations import contents
from tests.readers import READERS

CPU_SECONDS = 10
LONGEST_MESSAGE = 1_500


class Hang(BaseException):
    """A reader has not come to an end."""


@contextlib.contextmanager
def cpu_limit(seconds):
    """Raises Hang after so many seconds of this process's own time, however busy the machine."""

    def stop(*_):
        raise Hang

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


def numbers_in(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from numbers_in(entry)
    elif isinstance(value, float):
        yield value


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def outcome(reader, folder, content):
    """Reads ``content``: "read", or "refused" as it should be."""
    write(folder, {reader.file: content})
    try:
        with cpu_limit(CPU_SECONDS):
            value = reader.read(folder)
    except (reader.error, FileNotFoundError) as error:
        # Nothing below them: a UnicodeDecodeError is a ValueError too.
        assert type(error) in (reader.error, FileNotFoundError), repr(error)
        where = str(folder) if reader.names is None else reader.names
        assert (where or reader.file.rpartition("/")[2]) in str(error)
        message = str(error).replace(str(folder), "")
        assert message.isprintable(), ascii(message)
        assert len(message) < LONGEST_MESSAGE, message[:LONGEST_MESSAGE]
        return "refused"
    assert not any(map(math.isnan, numbers_in(value)))
    return "read"


def campaign(reader, folder, *, max_examples):
    """How many spoilt files were read, and how many refused."""
    write(folder, reader.beside)
    outcomes = Counter()

    @settings(
        max_examples=max_examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(contents(reader.valid))
    def attempt(content):
        outcomes[outcome(reader, folder, content)] += 1

    attempt()
    return outcomes


@pytest.mark.parametrize("name", READERS)
def test_the_file_that_is_spoilt_is_good_before(name, tmp_path):
    reader = READERS[name]
    write(tmp_path, reader.beside)
    assert outcome(reader, tmp_path, reader.valid) == "read"


@pytest.mark.parametrize("name", READERS)
def test_a_spoilt_file_is_read_or_refused_in_one_line(name, tmp_path):
    outcomes = campaign(READERS[name], tmp_path, max_examples=25)
    assert outcomes["refused"] > 0 or name.startswith("text")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", READERS)
def test_of_a_thousand_spoilt_files_each_is_read_or_refused_in_one_line(name, tmp_path):
    outcomes = campaign(READERS[name], tmp_path, max_examples=1_000)
    print(f"{name}: {dict(outcomes)}")
    assert outcomes["refused"] > 0


def test_a_reader_that_hangs_is_stopped():
    with pytest.raises(Hang), cpu_limit(0.05):
        while True:
            pass
