"""How the commands end: every expected failure is one line, and a code says what it was.

0 finished, 1 failed, 2 wrong arguments, 75 stopped and can go on. Of wrong arguments only is spoken
before the work begins: where a library raises the same kinds of errors later, the command failed.
"""

import argparse
import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from configs.command_line import UsageError, in_one_line

ROOT = Path(__file__).resolve().parent.parent
# By its path: the package that it is in imports JAX, which takes a second.
INTERRUPT = runpy.run_path(str(ROOT / "hopfield_attn" / "train" / "interrupt.py"))
FAILED = 1
WRONG_ARGUMENTS = 2
STOPPED: int = INTERRUPT["EXIT_CODE"]  # 75
GOES_ON = "The same command goes on."
STOP_SIGNALS: tuple[signal.Signals, ...] = INTERRUPT["SIGNALS"]

HELP_OPTIONS = ("--help", "-h", "-help", "--helpfull")
MISTAKES = (
    *(ValueError, TypeError, ModuleNotFoundError),
    *(FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError),
)
"""What wrong arguments raise in the library."""


class WorkFailed(Exception):
    """Something went wrong in the work of a command; the arguments were right."""


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are those of :func:`run_command`, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {self.prog} --help has the options")


@contextmanager
def failing_once_begun() -> Iterator[None]:
    """Turns a mistake that is found once the library's work has begun into :class:`WorkFailed`."""
    # Imports JAX: only once the command line is known to be right.
    from hopfield_attn.train.work import WORK_BEGUN

    WORK_BEGUN.clear()
    try:
        yield
    except MISTAKES as error:
        if WORK_BEGUN.is_set():
            raise WorkFailed(str(error)) from error
        raise


def run_command(body: Callable[[list[str]], int], argv: Sequence[str], *, help_text: str) -> int:
    """Runs ``body(argv)``, and turns every expected failure into one line.

    Args:
      body: does the work and returns the exit code.
      argv: the command line, the program's name first.
      help_text: what ``--help`` prints.

    Returns:
      The exit code.
    """
    try:
        if any(arg in HELP_OPTIONS for arg in argv[1:]):
            print(help_text, flush=True)
            return 0
        code = body(list(argv))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read the output has closed it (| head). Python would say so at exit once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except UsageError as error:
        return fail(str(error), code=WRONG_ARGUMENTS)
    except KeyboardInterrupt:
        return say_stopped("Stopped.")
    except (WorkFailed, *MISTAKES) as error:
        if "HOPFIELD_DEBUG" in os.environ:
            raise
        code = FAILED if isinstance(error, WorkFailed) else WRONG_ARGUMENTS
        return fail(f"{error} (HOPFIELD_DEBUG=1 shows where)", code=code)
    except (FloatingPointError, OSError) as error:
        # A full disk among them: what was given is right, and the same command may go on.
        return fail(str(error), code=FAILED)


def fail(message: str, *, code: int) -> int:
    """Prints an error in one line; returns ``code``."""
    print(f"error: {in_one_line(message)}", file=sys.stderr)
    return code


def say_stopped(what: str) -> int:
    """Says that the same command goes on; returns the code for it."""
    print(f"{what} {GOES_ON}", file=sys.stderr)
    return STOPPED


def stop_by_signals() -> None:
    """Makes SIGTERM and SIGUSR1 the same as Ctrl-C."""
    for number in set(STOP_SIGNALS) - {signal.SIGINT}:
        signal.signal(number, signal.default_int_handler)


def stop_at_once(*signal_and_frame: object) -> NoReturn:
    """Ends the process where it is, from a signal handler or another thread.

    For what has nothing to tidy up: an exception may be lost in the libraries that it goes through.
    """
    # A progress bar has hidden the cursor.
    cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    os.write(2, f"{cursor}Stopped. {GOES_ON}\n".encode())
    os._exit(STOPPED)
