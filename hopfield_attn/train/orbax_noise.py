"""What orbax prints when a file is damaged or a disk full: left out, as we say it in one line."""

import gc
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOGGERS = ("absl", "asyncio")


@contextmanager
def without_orbax_noise() -> Iterator[None]:
    """Leaves out the tracebacks that orbax logs for one failure, from its threads and its loops.

    What others log or leave behind is not touched.
    """
    previous = sys.unraisablehook

    def show(unraisable: Any) -> None:
        if not _is_of_a_failed_task(unraisable):
            previous(unraisable)

    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_of_others)
    sys.unraisablehook = show
    try:
        yield
    finally:
        sys.unraisablehook = previous
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(_is_of_others)


def settle_failed_tasks() -> None:
    """Lets what a failed read or write left behind come to its end now, while nobody listens."""
    # orbax gives up at the first array, while tensorstore goes on and answers a closed loop.
    time.sleep(0.05)
    gc.collect()


def _is_of_others(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname and "never retrieved" not in str(record.msg)


def _is_of_a_failed_task(unraisable: Any) -> bool:
    code = getattr(unraisable.object, "cr_code", None)
    is_of_orbax = code is not None and "orbax" in code.co_filename
    return is_of_orbax or "Event loop is closed" in str(unraisable.exc_value)
