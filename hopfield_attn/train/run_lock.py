"""One writer a run folder: a lock that ends with its process, whatever ends that.

Needs the standard library alone: ``scripts/train`` runs this file by its path, before JAX.
"""

import contextlib
import errno
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

LOCK_FILE = ".lock"
"""In the run folder, while a process writes there: "PID HOST"."""
_NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class RunFolderInUse(OSError):
    """Another process writes into the run folder; the message names it."""


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Keeps other writers out of ``workdir``, which has to exist.

    The lock is an ``flock``: it is gone when the process is, also when that was killed. On a file
    system without it, the text in the lock file is believed while its process may be running.

    Raises:
      RunFolderInUse: another process has the lock.
    """
    path = workdir / LOCK_FILE
    descriptor = _open_locked(path)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def refuse_if_locked(workdir: Path) -> None:
    """Raises what :func:`locked` would, and changes nothing; the folder need not exist."""
    path = workdir / LOCK_FILE
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            # Shared: processes of one job that all look do not take each other for a writer.
            _lock(descriptor, path, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)


def _open_locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(descriptor, path, fcntl.LOCK_EX)
            # Whoever had it may have removed the file before it let go.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path, kind: int) -> None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunFolderInUse(_in_use(path, *_holder(path))) from None
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        _lock_by_text(path)


def _lock_by_text(path: Path) -> None:
    """What is left without ``flock``: believe the file, unless its process is seen to be gone."""
    pid, host = _holder(path)
    if pid is None:
        return
    is_here = host == socket.gethostname()
    if is_here and (pid == os.getpid() or not _is_running(pid)):
        return
    known = "a process with this number runs here" if is_here else "it is not seen from here"
    raise RunFolderInUse(
        f"{_in_use(path, pid, host)}; there is no flock on this file system, and {known}: "
        f"if that process is gone, delete {path}"
    )


def _in_use(path: Path, pid: int | None, host: str | None) -> str:
    if pid is None:
        return f"{path.parent} is in use: another process has just begun to write there"
    other = "" if host == socket.gethostname() else " (another host)"
    return f"{path.parent} is in use: process {pid} on host {host}{other} writes there"


def _holder(path: Path) -> tuple[int, str] | tuple[None, None]:
    try:
        found = re.fullmatch(r"(\d+) (\S+)\n", path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, None
    return (int(found[1]), found[2]) if found else (None, None)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True
