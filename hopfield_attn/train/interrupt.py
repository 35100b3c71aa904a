"""Stop signals: Ctrl-C, SIGTERM and SIGUSR1, whenever they come."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
EXIT_CODE = 75
"""EX_TEMPFAIL: stopped before the end, and the same command goes on from there."""

_active: list["InterruptFlag"] = []
_taking = threading.Lock()
_is_watched = False


class Interrupted(Exception):
    """The run was asked to stop and has saved itself; ``step`` is where it goes on."""

    def __init__(self, step: int):
        """Records the step."""
        super().__init__(f"stopped at step {step}")
        self.step = step


class InterruptFlag:
    """While active, the first signal sets ``is_set``; a second one acts as it always does.

    A request that came while an outer flag was active counts.

    Attributes:
      is_set: the run was asked to stop, and whoever looks has to save and to stop.
      nothing_to_lose: a command is to be ended where it is, see :func:`watch_signals`.
    """

    def __init__(self) -> None:
        """Starts unset; signals are watched inside ``with``."""
        self.is_set = False
        self.nothing_to_lose = False
        self._number: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "InterruptFlag":
        self.is_set = any(flag.is_set for flag in _active)
        _active.append(self)
        # Python delivers signals to the main thread only; elsewhere nobody can ask.
        if not _is_watched and threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Puts the previous handlers back."""
        with _taking:
            _active.remove(self)
        self._restore()

    def pass_on(self) -> None:
        """Sends the signal once more, if there was one; for the end of what did not answer it."""
        if self._number is not None:
            signal.raise_signal(self._number)

    def take(self, number: int) -> bool:
        """Takes in a signal; returns whether somebody will answer it."""
        if self.is_set or self.nothing_to_lose:
            return False
        self._number, self.is_set = number, True
        return True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._number, self.is_set = number, True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous.clear()


def watch_signals(end: Callable[[], object]) -> None:
    """From now on a signal that no flag takes calls ``end``, in a thread of its own.

    For a command. A handler of Python has to wait until the main thread comes back from a
    compilation, which may take minutes; the thread doesn't.

    Args:
      end: ends the process.
    """
    global _is_watched
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in SIGNALS:
        # Not ignored: only signals with a handler are written to the pipe.
        signal.signal(number, lambda number, frame: None)
    _is_watched = True
    threading.Thread(target=_watch, args=(reader, end), daemon=True).start()


def _watch(reader: int, end: Callable[[], object]) -> None:
    while numbers := os.read(reader, 64):
        for number in filter(SIGNALS.__contains__, numbers):
            with _taking:
                is_taken = bool(_active) and _active[-1].take(number)
            if not is_taken:
                end()
