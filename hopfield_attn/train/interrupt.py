"""Ctrl-C and SIGTERM as a question the training loop asks between two steps."""

import signal
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_CODE = 75
"""EX_TEMPFAIL: stopped before the end, and the same command goes on from there."""


class Interrupted(Exception):
    """The run was asked to stop and has saved itself; ``step`` is where it goes on."""

    def __init__(self, step: int):
        """Records the step."""
        super().__init__(f"stopped at step {step}")
        self.step = step


class InterruptFlag:
    """While active, the first signal sets ``is_set``; a second one acts as it always does."""

    def __init__(self) -> None:
        """Starts unset; signals are watched inside ``with``."""
        self.is_set = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "InterruptFlag":
        # Python delivers signals to the main thread only; elsewhere nobody can ask.
        if threading.current_thread() is not threading.main_thread():
            return self
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
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous.clear()
