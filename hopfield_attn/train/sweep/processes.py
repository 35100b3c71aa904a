"""Runs commands one after another, each in a process of its own, and stops when it is asked to."""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from types import FrameType, TracebackType
from typing import NamedTuple

from hopfield_attn.train.interrupt import SIGNALS


class Outcome(NamedTuple):
    """How a process ended.

    Attributes:
      code: its exit code; −n where signal n killed it.
      last_line: the last line of its standard error.
    """

    code: int
    last_line: str


class Processes:
    """Runs one process at a time; use as a context manager.

    A process is in a session of its own, so Ctrl-C reaches it once, through here: a training run
    takes the first signal as the wish to save, and a second one as the wish not to.

    Attributes:
      is_stopped: a signal came; nothing more should be started.
    """

    def __init__(self) -> None:
        """Signals are watched inside ``with``."""
        self.is_stopped = False
        self._running: subprocess.Popen[str] | None = None
        # A signal that came while the process was being made.
        self._untold: int | None = None
        self._previous: dict[int, object] = {}

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> Outcome:
        """Runs ``command`` to its end; what it prints goes where this process prints.

        Args:
          command: program and arguments.
          environment: variables of the process; ``None`` is those of this one.
        """
        process = subprocess.Popen(
            list(command),
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._running = process
        if self._untold is not None:
            process.send_signal(self._untold)
        assert process.stderr is not None
        lines = [""]
        thread = threading.Thread(target=_repeat, args=(process.stderr, lines), daemon=True)
        thread.start()
        code = process.wait()
        self._running = None
        # What the process started may hold its standard error open.
        thread.join(timeout=5.0)
        if not thread.is_alive():
            process.stderr.close()
        return Outcome(code, lines[-1])

    def __enter__(self) -> "Processes":
        # Python delivers signals to the main thread only; elsewhere nobody can ask.
        if threading.current_thread() is threading.main_thread():
            # The terminal that closes; nohup ignores it, and so does what it runs.
            closed = [signal.SIGHUP] * (signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN)
            for number in (*SIGNALS, *closed):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Puts the previous handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.is_stopped = True
        told = signal.SIGTERM if number == signal.SIGHUP else number
        if self._running is None:
            self._untold = told
        else:
            self._running.send_signal(told)


def _repeat(stream: Iterable[str], lines: list[str]) -> None:
    """Prints what comes; keeps the last line that is not empty."""
    for line in stream:
        lines[0] = line.strip() or lines[0]
        # Of a terminal that is gone, too, all is read: a process whose pipe is full waits for ever.
        with contextlib.suppress(OSError):
            sys.stderr.write(line)
            sys.stderr.flush()
